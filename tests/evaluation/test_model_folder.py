"""A folder with a model: what it holds, what ``fixhead.load`` makes of it, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import fixhead
from fixhead.cli import run
from fixhead.data import load as load_data
from fixhead.evaluation.model_folder import (
    Calibration,
    describe_confidence,
    model_card,
    quantiles,
)
from fixhead.evaluation.reference import read_reference
from fixhead.geometry.calibration import calibration_sums, expected_calibration_error
from fixhead.runs.records import read
from fixhead.training import load_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("folder") / "out"
    options = ["--head", "simplex", "--epochs", "2", "--device", "cpu", "--out", str(out)]
    assert run(["train", *options]) == 0
    return out / "runs" / "simplex-seed0"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def facts_of(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())


def digits(number: int = 40) -> torch.Tensor:
    return torch.from_numpy(np.asarray(load_data("digits").test.images[:number]))


def test_the_folder_says_how_the_model_was_trained_and_what_was_measured(folder):
    [row], said = read(folder.parents[1] / "runs.jsonl"), facts_of(folder)["description"]
    for name in ("test_accuracy", "test_loss", "versions", "best_epoch", "config"):
        assert said["training"][name] == row[name]
    assert said["certificate"] == row["geometry"]["certificate"]
    card = (folder / "README.md").read_text()
    assert card == model_card(said)
    assert f"| test accuracy | {100 * row['test_accuracy']:.2f} % |" in card
    assert "torch" in card


def test_calibration_is_measured_on_the_validation_images_alone(folder):
    from fixhead.comparison import Comparison
    from fixhead.comparison.config import RunPlan
    from fixhead.comparison.context import open_context

    model, said = load_classifier(folder)
    comparison = Comparison(heads=("simplex",), seeds=1, device="cpu")
    context = open_context(comparison)
    validation = context.parts(0, 64).validation
    reference = read_reference(folder, said)
    assert describe_confidence(model, validation, reference) == said["calibration"]
    logits = torch.cat([model(images) for images, _ in validation.epoch(0)]).detach()
    labels = torch.cat([labels for _, labels in validation.epoch(0)])
    for name, t in (("before", 1.0), ("after", said["calibration"]["temperature"])):
        ece = expected_calibration_error(calibration_sums(logits / t, labels))
        assert said["calibration"]["ece"][name] == pytest.approx(float(ece), abs=1e-6)
    assert RunPlan("simplex", 0, comparison.recipe).run_id == folder.name


def test_a_loaded_model_answers_as_the_trained_one(folder, tmp_path):
    model = fixhead.load(folder)
    classifier, said = load_classifier(folder)
    pixels = digits()
    mean, std = said["mean"][0], said["std"][0]
    with torch.no_grad():
        features = classifier.features((pixels / 255 - mean) / std)
        logits = classifier.head(features) / said["calibration"]["temperature"]
        torch.testing.assert_close(model(pixels), logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.embed(pixels), features, rtol=1e-4, atol=1e-4)
    found = model.predict(pixels, top=2)
    assert [one.label for one in found] == [model.classes[int(k)] for k in logits.argmax(dim=1)]
    assert found[0].probability == pytest.approx(float(logits[0].softmax(0).max()), rel=1e-4)
    assert model.classes == tuple("0123456789")
    assert not model.training


def test_paths_pictures_and_arrays_of_any_size_are_taken(folder, tmp_path):
    model = fixhead.load(folder)
    array = digits(1)[0, 0].numpy()
    picture = Image.fromarray(array)
    picture.save(tmp_path / "one.png")
    answers = model.predict([tmp_path / "one.png", str(tmp_path / "one.png"), picture, array])
    assert len({one.classes for one in answers}) == 1
    assert [one.image for one in answers[2:]] == ["image 2", "image 3"]
    assert model.predict(picture)[0].classes == answers[0].classes
    wide = model.predict(Image.new("RGB", (50, 30), "navy"))
    assert len(wide) == 1
    assert model.embed([]).shape == (0, 64)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 1, 9, 9, dtype=torch.uint8), torch.zeros(2, 1, 8, 8), [3], [np.zeros((8, 8))]],
    ids=["size", "type", "number", "float array"],
)
def test_what_is_no_picture_is_refused(folder, images):
    with pytest.raises(fixhead.RequestError):
        fixhead.load(folder).predict(images)


def test_loading_unpickles_nothing(folder, monkeypatch):
    def never(*_args, **_kwargs):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    monkeypatch.setattr(torch, "load", never)
    fixhead.load(folder).predict(digits(1))


def test_a_folder_of_before_there_was_a_calibration_goes_on_loading(copy):
    content = facts_of(copy)
    for name in ("calibration", "training", "certificate"):
        del content["description"][name]
    (copy / "model.json").write_text(json.dumps(content))
    (copy / "README.md").unlink()
    model, classifier = fixhead.load(copy), load_classifier(copy)[0]
    assert model.temperature == 1.0
    found = model.predict(digits(1))[0]
    said = load_classifier(copy)[1]
    with torch.no_grad():
        logits = classifier((digits(1) / 255 - said["mean"][0]) / said["std"][0])
    assert found.probability == pytest.approx(float(logits.softmax(1).max()), rel=1e-4)
    with pytest.raises(fixhead.RequestError, match="this one was not"):
        model.predict(digits(1), reject=0.05)


def test_quantiles_keep_few_scores_whole_and_many_at_even_ranks():
    scores = torch.randperm(5001, generator=torch.Generator().manual_seed(0)).double()
    assert quantiles(scores[:7]) == sorted(scores[:7].tolist())
    assert quantiles(scores) == [5.0 * k for k in range(1001)]
    for rate in (0.0, 0.05, 0.5):
        limit = Calibration(1.0, "energy", {"energy": quantiles(scores)}).threshold(rate, "energy")
        assert float((scores < limit).double().mean()) == pytest.approx(rate, abs=1e-3)


def test_a_newer_folder_says_so(copy):
    content = facts_of(copy) | {"schema": "fixhead.model/2"}
    (copy / "model.json").write_text(json.dumps(content))
    with pytest.raises(fixhead.RequestError, match=r"another version of fixhead.*install"):
        fixhead.load(copy)


def test_weights_of_another_type_are_refused(copy):
    rewrite_header(copy, lambda text: text.replace('"F32"', '"I32"'))
    with pytest.raises(fixhead.RequestError, match=r"torch\.int32|do not match their own digest"):
        fixhead.load(copy)


def rewrite_header(folder: Path, change) -> None:
    """Change the header of the weights, and give the folder the new digest."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    text = change(content[8 : 8 + length].decode()).encode()
    write_weights(folder, struct.pack("<Q", len(text)) + text + content[8 + length :])


def write_weights(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    facts = facts_of(folder) | {"sha256": hashlib.sha256(content).hexdigest()}
    (folder / "model.json").write_text(json.dumps(facts))


def opens_or_refuses(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(fixhead.RequestError):
            fixhead.load(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3000) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
EXAMPLES = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@EXAMPLES
@given(data=st.data())
def test_no_model_json_does_anything_but_open_or_be_refused(folder, tmp_path_factory, data):
    copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp("fuzz") / "copy"))
    content = facts_of(copy)
    where = data.draw(st.sampled_from(["schema", "sha256", "description", "inside", "calibration"]))
    value = data.draw(JSON)
    if where == "inside":
        content["description"][data.draw(st.sampled_from(sorted(content["description"])))] = value
    elif where == "calibration":
        inner = content["description"]["calibration"]
        inner[data.draw(st.sampled_from(sorted(inner)))] = value
    else:
        content[where] = value
    (copy / "model.json").write_text(json.dumps(content))
    opens_or_refuses(copy)


@EXAMPLES
@given(data=st.data())
def test_no_bytes_of_the_weights_do_anything_but_open_or_be_refused(folder, tmp_path_factory, data):
    copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp("fuzz") / "copy"))
    content = bytearray((copy / "model.safetensors").read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 7 + length))] = data.draw(st.integers(0, 255))
    write_weights(copy, bytes(content))
    opens_or_refuses(copy)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": NaN}', "\0", "{" * 3000])
def test_a_text_that_is_no_description_is_refused(copy, text):
    (copy / "model.json").write_text(text)
    with pytest.raises(fixhead.RequestError, match=r"model\.json was needed"):
        fixhead.load(copy)
