import json

import pytest
import torch

from fixhead import ClassificationHead
from fixhead.cli import run
from fixhead.comparison import Comparison
from fixhead.comparison.context import prepare
from fixhead.evaluation import CollapseMonitor, describe_collapse, examine
from fixhead.training import Recipe, load_classifier

HEADS = ("learned-dot", "simplex-dr")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One epoch of two heads, so that the saved weights are those of the only row."""
    out = tmp_path_factory.mktemp("watch") / "out"
    options = ["--heads", ",".join(HEADS), "--epochs", "1", "--seeds", "1", "--device", "cpu"]
    assert run(["compare", *options, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("head", HEADS)
def test_an_epochs_collapse_is_that_of_the_validation_images(compared, head):
    folder = compared / "runs" / f"{head}-seed0"
    told = json.loads((folder / "history.jsonl").read_text())["collapse"]
    model, _ = load_classifier(folder)
    context = prepare(Comparison(heads=HEADS, seeds=1, recipe=Recipe(epochs=1), device="cpu"))
    detail = examine(model, context.parts(0, 64).validation, classes=10)
    expected = describe_collapse(detail)
    assert told.keys() - {"of"} <= expected.keys()
    for name in told.keys() - {"of"}:
        assert told[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name
    assert told["of"] == ("features" if head == "learned-dot" else "directions")


def test_vectors_in_the_plane_are_kept_for_their_paths():
    head = ClassificationHead(2, 3, vectors="simplex", scale=4.0)
    watch = CollapseMonitor(head, 3)
    watch.add(head.vectors[torch.arange(3)], torch.arange(3))
    found = watch.finish()
    assert torch.tensor(found["vectors"]).shape == (3, 2)
    torch.testing.assert_close(torch.tensor(found["vectors"]), head.vectors)
    assert found["alignment"] == pytest.approx(1)


def test_vectors_of_more_dimensions_are_not_kept():
    head = ClassificationHead(8, 3, vectors="simplex", scale=4.0)
    watch = CollapseMonitor(head, 3)
    watch.add(torch.randn(9, 8, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3)
    assert "vectors" not in watch.finish()
