"""Two-dimensional features: areas in the record, paths in the history, both on the page."""

import json

import pytest
import torch

from fixhead.cli import run
from fixhead.geometry.planes import decision_areas, sectors
from fixhead.runs.records import read
from fixhead.training import load_classifier


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    out = tmp_path_factory.mktemp("plane") / "out"
    heads = "guided,random-cosine@8,learned-dot"
    options = ["--heads", heads, "--epochs", "2", "--seeds", "1", "--device", "cpu"]
    tail = ["--features", "2", "--imbalance", "geometric:0.5"]
    assert run(["compare", *options, *tail, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("head", ["guided", "random-cosine@8"])
def test_areas_are_those_of_the_saved_vectors(flat, head):
    row = next(row for row in read(flat / "runs.jsonl") if row["head"] == head)
    model, _ = load_classifier(flat / "runs" / row["run_id"])
    kind = model.head.logit_kind
    expected = decision_areas(model.head.vectors.detach(), logits=kind)
    areas = row["geometry"]["areas"]
    assert areas["shares"] == pytest.approx(expected.tolist())
    gone = [
        name for name, share in zip(row["classes"], areas["shares"], strict=True) if share < 1e-9
    ]
    assert areas["vanished"] == gone


def test_a_bias_leaves_no_areas_and_says_so(flat):
    row = next(row for row in read(flat / "runs.jsonl") if row["head"] == "learned-dot")
    assert "bias" in row["geometry"]["areas"]["reason"]


def test_paths_are_kept_by_epoch_and_frozen_vectors_stay(flat):
    for head, moves in (("guided", True), ("random-cosine@8", False)):
        lines = (flat / "runs" / f"{head}-seed0" / "history.jsonl").read_text().splitlines()
        first, last = (torch.tensor(json.loads(line)["collapse"]["vectors"]) for line in lines)
        assert first.shape == (10, 2)
        assert torch.equal(first, last) is not moves


def test_every_epoch_keeps_its_sectors_and_the_same_images(flat):
    kinds = {"guided": "dot", "random-cosine@8": "cosine", "learned-dot": None}
    for head, logits in kinds.items():
        lines = (flat / "runs" / f"{head}-seed0" / "history.jsonl").read_text().splitlines()
        rows = [json.loads(line)["collapse"] for line in lines]
        assert rows[0]["labels"] == rows[1]["labels"]
        for row in rows:
            assert len(row["points"]) == len(row["labels"]) > 0
            if logits is None:
                assert row["sectors"] is None  # a bias
                continue
            expected = sectors(torch.tensor(row["vectors"]), logits=logits)
            assert [label for label, _, _ in row["sectors"]] == [one.label for one in expected]
            starts = [start for _, start, _ in row["sectors"]]
            assert starts == pytest.approx([one.start for one in expected], abs=1e-4)


def test_the_page_has_both_sections(flat):
    page = (flat / "report.html").read_text()
    assert 'id="collapse"' in page
    assert 'id="plane"' in page
    assert "guided: " in page
