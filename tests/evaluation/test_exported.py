"""A model as one file for other programs: the same answers, or no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import fixhead
from fixhead.backbones import build
from fixhead.cli import run
from fixhead.evaluation.exported import (
    ExportCheck,
    OnnxModel,
    check_pictures,
    compare_answers,
    export,
    read_facts,
)
from fixhead.training import build_classifier, save_model

CLASSES = list("abcd")
IMPLICIT = "vectors=implicit,code_width=128"


def saved(
    folder: Path,
    head: str = "simplex",
    backbone: str = "small-cnn",
    size: int = 8,
    channels: int = 1,
    classes: list[str] = CLASSES,
) -> Path:
    """A model that was not trained, with a calibration."""
    network = build(backbone, channels=channels, image_size=size, seed=0)
    model = build_classifier(network, head, len(classes), counts=None, seed=0).eval()
    scores = {"energy": [0.0, 1.0], "largest-cosine": [0.0, 0.5]}
    facts = {
        "backbone": backbone, "channels": channels, "image_size": size, "features": None,
        "neck": "none", "head": head, "classes": classes, "seed": 0, "data": "none",
        "mean": [0.4] * channels, "std": [0.3] * channels,
        "calibration": {"temperature": 0.7, "score": "energy", "scores": scores},
    }  # fmt: skip
    save_model(folder, model, facts)
    return folder


def noise(number: int, size: int = 8, channels: int = 1, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    shape = (number, channels, size, size)
    return torch.randint(256, shape, dtype=torch.uint8, generator=draws)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, Path]:
    """A model's folder, and its ONNX file."""
    folder = saved(tmp_path_factory.mktemp("export") / "model")
    check = export(fixhead.load(folder), "onnx", folder / "model.onnx", [noise(5)])
    assert check.passed
    return folder, folder / "model.onnx"


@pytest.mark.parametrize("rows", [1, 3, 70])
def test_the_onnx_file_gives_the_calibrated_logits_of_any_number_of_pictures(exported, rows):
    folder, path = exported
    pixels = noise(rows, seed=1)
    model = fixhead.load(folder)
    logits, cosines = OnnxModel(path).answer(pixels)
    with torch.no_grad():
        torch.testing.assert_close(logits, model(pixels), rtol=1e-4, atol=1e-5)
        points = torch.nn.functional.normalize(model.features(pixels))
        expected = (points @ model.model.head.vectors.T).amax(dim=1)
    torch.testing.assert_close(cosines, expected, rtol=1e-4, atol=1e-5)


def test_pictures_get_the_same_answers_from_the_file_as_from_the_folder(exported, tmp_path, capsys):
    folder, path = exported
    for number, pixels in enumerate(noise(9, size=12, seed=2)):
        Image.fromarray(pixels[0].numpy()).save(tmp_path / f"{number}.png")
    answers = []
    for model in (folder, path):
        options = ["--json", "--reject", "0.5", "--device", "cpu"]
        assert run(["predict", str(model), str(tmp_path), *options]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for ours, theirs in zip(*answers, strict=True):
        assert (ours["image"], ours["class"]) == (theirs["image"], theirs["class"])
        assert ours["unknown"] == theirs["unknown"]
        assert ours["probability"] == pytest.approx(theirs["probability"], rel=1e-4)
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", ["torch-export", "state-dict"])
@pytest.mark.parametrize(
    "head", ["learned-dot", "vectors=implicit,code_width=128", "random-cosine@5"]
)
def test_other_kinds_give_the_same_answers_too(kind, head, tmp_path):
    model = fixhead.load(saved(tmp_path / "model", head))
    check = export(model, kind, tmp_path / "file", [noise(4), noise(2)])
    assert check.images == 6
    assert check.largest_difference <= 1e-5 * check.range


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "size", "head"),
    [
        ("resnet18", 32, "learned-dot"),
        ("mobilenetv2", 32, "simplex"),
        ("timm:resnet18", 64, "vectors=implicit,code_width=1024"),
        ("torchvision:mobilenet_v3_small", 64, "random-cosine@5"),
    ],
)
def test_networks_of_every_kind_go_to_onnx(backbone, size, head, tmp_path):
    folder = saved(tmp_path / "model", head, backbone, size, 3)
    check = export(
        fixhead.load(folder),
        "onnx",
        tmp_path / "model.onnx",
        [noise(3, size, 3), noise(1, size, 3)],
    )
    assert check.passed


def test_the_tensors_hold_what_other_programs_need(tmp_path):
    model = fixhead.load(saved(tmp_path / "model", IMPLICIT))
    export(model, "state-dict", tmp_path / "state.safetensors", [noise(2)])
    with safe_open(tmp_path / "state.safetensors", "pt") as file:
        said = json.loads(file.metadata()["fixhead"])
        assert tuple(file.get_slice("head.vectors").get_shape()) == (4, 128)
        assert any(name.startswith("backbone.") for name in file.keys())  # noqa: SIM118
    assert said["description"]["classes"] == CLASSES


def shifted(by: torch.Tensor) -> Any:
    """A run whose logits are those of ``first`` plus ``by``."""
    return lambda pixels: (first(pixels)[0] + by, first(pixels)[1])


def first(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values = pixels.flatten(1)[:, :4].float()
    return values, values[:, 0]


@pytest.mark.parametrize(("by", "passes"), [(0.1, True), (0.5, False)])
def test_a_file_whose_logits_differ_too_much_is_told(by, passes):
    pixels = noise(20)
    check = compare_answers(first, shifted(torch.tensor([by, 0, 0, 0])), [pixels])
    assert check.largest_difference == pytest.approx(by, rel=1e-3)
    assert check.range == float(first(pixels)[0].max() - first(pixels)[0].min())
    assert check.passed is passes


def test_an_answer_that_changes_is_forgiven_in_a_tie_only():
    tie = torch.tensor([[9, 9, 0, 250]], dtype=torch.uint8).view(1, 1, 2, 2)
    tie = torch.cat([tie, torch.tensor([[80, 80, 0, 1]], dtype=torch.uint8).view(1, 1, 2, 2)])
    check = compare_answers(first, shifted(torch.tensor([-0.05, 0.05, 0, 0])), [tie])
    assert (check.changed, check.ties, check.passed) == (1, 1, True)
    assert not ExportCheck(2, 0.0, 1.0, changed=1, ties=0).passed


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch):
    model = fixhead.load(saved(tmp_path / "model"))
    honest = model.answer
    monkeypatch.setattr(model, "answer", lambda pixels: (honest(pixels)[0].flip(1), None))
    with pytest.raises(fixhead.RequestError, match="was not kept"):
        export(model, "torch-export", tmp_path / "file", [noise(3)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_what_cannot_be_exported_is_refused(tmp_path, capsys):
    model = fixhead.load(saved(tmp_path / "model"))
    path = tmp_path / "file"
    with pytest.raises(fixhead.RequestError, match="--to must be one of"):
        export(model, "coreml", path, [noise(1)])
    with pytest.raises(fixhead.RequestError, match="at least one picture"):
        export(model, "state-dict", path, [])
    path.write_text("mine")
    with pytest.raises(fixhead.RequestError, match="is there already"):
        export(model, "state-dict", path, [noise(1)])
    assert path.read_text() == "mine"
    for options in (["--to", "x"], ["--images", "a", "--data", "b"], ["--check", "0"]):
        assert run(["export", str(tmp_path / "model"), *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_pictures_of_a_folder_are_what_a_file_is_checked_on(tmp_path, capsys):
    folder = saved(tmp_path / "model")
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    for number, pixels in enumerate(noise(5, size=20)):
        Image.fromarray(pixels[0].numpy()).save(tmp_path / "pictures" / "deep" / f"{number}.png")
    options = ["--to", "state-dict", "--images", str(tmp_path / "pictures"), "--json"]
    assert run(["export", str(folder), *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["images"] == 5
    assert Path(said["file"]) == folder / "state.safetensors"
    facts = fixhead.load(folder).facts
    parts = list(check_pictures(facts, folder=tmp_path / "pictures", most=2))
    assert [tuple(part.shape) for part in parts] == [(2, 1, 8, 8)]


def altered(path: Path, target: Path, change) -> Path:
    model = onnx.load(path)
    [entry] = [one for one in model.metadata_props if one.key == "fixhead"]
    said = json.loads(entry.value)
    change(said)
    entry.value = json.dumps(said)
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: said.update(schema="fixhead.export/2"), "another version"),
        (lambda said: said["description"]["classes"].pop(), "names 3 classes"),
        (lambda said: said["description"]["classes"].append("e"), "names 5 classes"),
        (lambda said: said["description"].update(mean=["x"]), "mean"),
        (lambda said: said.pop("description"), "was not written by"),
    ],
    ids=["newer", "fewer classes", "more classes", "mean", "nothing said"],
)
def test_an_altered_file_is_refused(exported, tmp_path, capsys, change, words):
    path = altered(exported[1], tmp_path / "other.onnx", change)
    with pytest.raises(fixhead.RequestError, match=words):
        OnnxModel(path)
    for command in (["predict", str(path), str(tmp_path)], ["evaluate", str(path)]):
        assert run(command) == 2
        assert words in capsys.readouterr().err


def test_a_cut_file_and_one_of_another_program_are_refused(exported, tmp_path, capsys):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(exported[1].read_bytes()[:1000])
    for path in (cut, tmp_path / "none.onnx"):
        assert run(["predict", str(path), str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "cannot be run by onnxruntime" in said
    assert "does not exist" in said
    with pytest.raises(fixhead.RequestError, match="was not written by"):
        read_facts(cut, None)


def test_arrays_of_pixels_are_read_as_they_lie():
    facts = {"data": "digits", "classes": list("0123456789"), "channels": 1, "image_size": 8}
    parts = list(check_pictures(facts, most=100))
    assert sum(len(part) for part in parts) == 100
    assert parts[0].dtype == torch.uint8
    assert np.asarray(parts[0]).shape == (64, 1, 8, 8)


@pytest.mark.parametrize("head", ["simplex", "learned-dot"])
def test_the_file_is_measured_as_the_model_is(head, tmp_path, capsys):
    folder = saved(tmp_path / "model", head, classes=list("0123456789"))
    export(fixhead.load(folder), "onnx", folder / "model.onnx", [noise(5)])
    records = []
    for path in (folder, folder / "model.onnx"):
        out = tmp_path / path.name
        options = ["--data", "digits", "--device", "cpu", "--outside", "digits", "--out", str(out)]
        assert run(["evaluate", str(path), *options, "--json"]) == 0
        records.append(json.loads(capsys.readouterr().out))
        assert (out / "evaluation.html").exists()
    [ours], [theirs] = (record["models"] for record in records)
    assert theirs["name"] == "model.onnx"
    assert theirs["head_sentence"] == ours["head_sentence"]
    for name in ("accuracy", "loss", "macro_f1"):
        assert theirs[name] == pytest.approx(ours[name], rel=1e-4)
    for part in ("calibration", "confidence", "collapse", "compactness", "geometry"):
        assert theirs[part].keys() == ours[part].keys()
    for part, name in (("collapse", "alignment"), ("calibration", "expected_error")):
        if name in ours[part]:
            assert theirs[part][name] == pytest.approx(ours[part][name], rel=1e-3, abs=1e-5)
    assert theirs["confidence"]["ece"]["after"] == pytest.approx(
        ours["confidence"]["ece"]["after"], abs=1e-4
    )
    assert theirs["geometry"]["confusion"] == ours["geometry"]["confusion"]
    assert theirs["geometry"]["scale"] == pytest.approx(ours["geometry"]["scale"])


def test_a_file_that_cannot_be_measured_is_refused_by_evaluate_alone(exported, tmp_path, capsys):
    path = altered(
        exported[1],
        tmp_path / "older.onnx",
        lambda said: said["description"].pop("exported_head"),
    )
    assert OnnxModel(path).answer(noise(2))[0].shape == (2, 4)
    assert run(["evaluate", str(path), "--data", "digits"]) == 2
    assert "export the model again" in capsys.readouterr().err
    for option in (["--architecture", "timm:resnet18"], ["--device", "cuda"]):
        assert run(["evaluate", str(exported[1]), "--data", "digits", *option]) == 2
        assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize("score", ["k-nearest", "vim"])
def test_scores_of_features_need_the_folder(exported, score):
    with pytest.raises(fixhead.RequestError, match="name the folder, or say --score energy"):
        OnnxModel(exported[1]).scored(noise(2), score)
