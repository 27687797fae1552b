from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fixhead import RequestError
from fixhead.backbones import build
from fixhead.training import Classifier, build_classifier, load_classifier, save_model

COUNTS = [90, 50, 20, 9]
HEADS = (
    *("learned-dot", "learned-dot:paired", "learned-cosine@4", "random-dot", "random-cosine@auto"),
    *("orthonormal", "hadamard", "simplex", "simplex-dr", "guided", "code", "auto", "auto:learned"),
    *("vectors=simplex,neck=mlp:6", "vectors=random,loss=ldam:0.3,scale=8,reweight=3"),
)


def facts(head: str, **changes: object) -> dict[str, object]:
    return {
        "backbone": "small-cnn", "channels": 1, "image_size": 8, "features": 12, "neck": "linear",
        "head": head, "classes": list("abcd"), "seed": 3, "training_counts": COUNTS, **changes,
    }  # fmt: skip


def made(head: str) -> Classifier:
    backbone = build("small-cnn", channels=1, image_size=8, features=12, neck="linear", seed=3)
    model = build_classifier(backbone, head, 4, counts=COUNTS, seed=3)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    return model.eval()


@pytest.mark.parametrize("head", HEADS)
def test_a_model_is_built_again_from_its_description_alone(head: str, tmp_path: Path) -> None:
    model = made(head)
    save_model(tmp_path, model, facts(head))
    again, described = load_classifier(tmp_path)
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    assert described == facts(head)
    assert not again.training
    torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)


def test_an_auto_saved_before_it_followed_a_table_is_what_it_was(tmp_path: Path) -> None:
    model = made("vectors=auto,code_width=auto")
    save_model(tmp_path, model, facts("auto"))
    path = tmp_path / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["head_spec"]
    path.write_text(json.dumps(content), encoding="utf-8")
    again, _ = load_classifier(tmp_path)
    assert again.head.loss_name.name == "cross-entropy"  # and the classes are unequal
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)


def test_either_of_its_files_names_a_model(tmp_path: Path) -> None:
    save_model(tmp_path, made("simplex"), facts("simplex"))
    for name in ("model.json", "model.safetensors"):
        assert load_classifier(tmp_path / name)[1]["head"] == "simplex"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head": "hadamard"}, "simplex"),
        ({"head": "no-such-head"}, "no-such-head"),
        ({"backbone": "no-such-net"}, "no-such-net"),
        ({"channels": "one"}, "model.json"),
        ({"features": 11}, "12 features"),
        ({"classes": list("abc"), "training_counts": None}, "4 classes"),
        ({"training_counts": [1, 2]}, "class_counts"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    change: dict[str, object], words: str, tmp_path: Path
) -> None:
    save_model(tmp_path, made("simplex"), facts("simplex") | change)
    with pytest.raises(RequestError, match=words):
        load_classifier(tmp_path)


@pytest.mark.parametrize("name", ["backbone", "head", "classes", "neck"])
def test_a_description_that_lacks_something_says_what(name: str, tmp_path: Path) -> None:
    lacking = facts("simplex")
    del lacking[name]
    save_model(tmp_path, made("simplex"), lacking)
    with pytest.raises(RequestError, match=f"does not say the model's {name}"):
        load_classifier(tmp_path)
