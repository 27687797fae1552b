"""What training leaves of its images beside the model, and what pictures are told apart by."""

from __future__ import annotations

import hashlib
import json
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
from safetensors.torch import load_file, save_file

import fixhead
from fixhead.cli import run
from fixhead.evaluation.model_folder import SCORES, Calibration
from fixhead.evaluation.reference import read_reference
from fixhead.geometry.detection import auroc, k_nearest
from fixhead.runs.records import read

CLASSES = ("bright", "dark", "split")
QUICK = ["--head", "simplex", "--epochs", "3", "--batch-size", "16", "--device", "cpu"]


def picture(kind: str, draws: np.random.Generator) -> Image.Image:
    base = {"bright": 220, "dark": 40, "other": 130}.get(kind)
    pixels = np.full((12, 12, 3), base if base is not None else 40.0)
    if kind == "split":
        pixels[:, 6:] = 220
    if kind == "other":
        pixels[::2] = draws.uniform(0, 255, (6, 12, 3))
    return Image.fromarray(np.clip(pixels + draws.normal(0, 25, pixels.shape), 0, 255).astype("u1"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Sixty pictures of three classes, and twenty of none of them, in ``others``."""
    root, draws = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for kind in (*CLASSES, "other"):
        folder = root / "others" if kind == "other" else root / "known" / kind
        folder.mkdir(parents=True)
        for number in range(20 if kind == "other" else 60):
            picture(kind, draws).save(folder / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def out(photos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "out"
    data = ["--data", str(photos / "known"), "--outside", str(photos / "others")]
    assert run(["train", *data, *QUICK, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def folder(out) -> Path:
    return out / "runs" / "simplex-seed0"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def facts_of(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())["description"]


def test_at_most_twenty_training_images_of_every_class_are_kept_with_their_files(folder, photos):
    model = fixhead.load(folder)
    kept = model.reference
    assert kept is not None
    assert torch.bincount(kept.labels).tolist() == [20, 20, 20]
    assert facts_of(folder)["reference"]["images"] == 60
    for label, file in zip(kept.labels.tolist(), kept.files, strict=True):
        assert file is not None
        assert file.parent == photos / "known" / CLASSES[label]
    assert len({*kept.files}) == 60
    features = torch.nn.functional.normalize(model.embed(list(kept.files)))
    torch.testing.assert_close(kept.features, features, rtol=1e-4, atol=1e-5)
    cosines, places = kept.nearest(features, 3)
    assert places[:, 0].tolist() == list(range(60))
    torch.testing.assert_close(cosines[:, 0], torch.ones(60))


def test_every_score_has_its_validation_images_and_the_best_one_is_named(folder, photos):
    said = facts_of(folder)["calibration"]
    assert list(said["scores"]) == list(SCORES)
    areas = said["outside"]["auroc"]
    assert said["score"] == max(areas, key=areas.get)
    assert (said["outside"]["images"], Path(said["outside"]["name"]).name) == (20, "others")
    model = fixhead.load(folder)
    others = sorted((photos / "others").iterdir())
    for name in SCORES:
        found = [one.score for one in model.predict(others, reject=0.1, score=name)]
        area = auroc(torch.tensor(said["scores"][name]), torch.tensor(found))
        assert float(area) == pytest.approx(areas[name], abs=2e-3)
    assert f"AUROC by {said['score']} against others" in (folder / "README.md").read_text()


def test_scores_of_features_are_those_of_the_reference(folder, photos):
    model = fixhead.load(folder)
    files = sorted((photos / "others").iterdir())
    kept, features = model.reference, model.embed(files)
    found = [one.score for one in model.predict(files, reject=0.1, score="k-nearest")]
    torch.testing.assert_close(
        torch.tensor(found).float(), k_nearest(features, kept.features), rtol=1e-3, atol=1e-3
    )
    limit = Calibration.of(model.facts).threshold(0.1, "k-nearest")
    answers = model.predict(files, reject=0.1, score="k-nearest")
    assert [one.unknown for one in answers] == [one.score < limit for one in answers]


def test_evaluate_says_what_was_rejected_and_how_well_calibrated_it_is(
    out, photos, capsys, tmp_path
):
    options = ["--outside", str(photos / "others"), "--device", "cpu", "--projection", "none"]
    assert run(["evaluate", str(out), *options, "--out", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "calibration error before the temperature" in said
    assert "rejected at 5 %" in said
    record = json.loads((tmp_path / "evaluation.json").read_text())
    [entry], [other] = record["models"], record["outside"]
    found = entry["confidence"]
    assert found["ece"]["before"] == pytest.approx(entry["calibration"]["expected_error"], abs=1e-6)
    assert (
        found["temperature"]
        == facts_of(out / "runs" / "simplex-seed0")["calibration"]["temperature"]
    )
    model = fixhead.load(out)
    others = sorted((photos / "others").iterdir())
    [measured] = other["models"]
    for place, rate in enumerate((0.01, 0.05, 0.1)):
        assert found["rejected"][place]["rate"] == rate
        for name in SCORES:
            share = np.mean([one.unknown for one in model.predict(others, reject=rate, score=name)])
            assert measured["rejected"][place]["share"][name] == pytest.approx(share, abs=0.051)
            assert 0 <= found["rejected"][place]["share"][name] <= 1
    assert {"largest_cosine", "energy", "k_nearest", "vim"} <= set(measured)


def test_without_a_reference_two_scores_are_left(photos, tmp_path, capsys):
    data = ["--data", str(photos / "known"), "--no-reference"]
    assert run(["train", *data, *QUICK, "--out", str(tmp_path / "out")]) == 0
    folder = tmp_path / "out" / "runs" / "simplex-seed0"
    assert not (folder / "reference.safetensors").exists()
    assert facts_of(folder)["calibration"]["score"] == "energy"
    model = fixhead.load(folder)
    assert model.reference is None
    one = next((photos / "others").iterdir())
    with pytest.raises(fixhead.RequestError, match="one of energy, largest-cosine for this model"):
        model.predict(one, reject=0.1, score="vim")


def test_other_classes_that_are_not_there_are_refused_before_training(photos, tmp_path, capsys):
    options = ["--data", str(photos / "known"), *QUICK, "--out", str(tmp_path / "out")]
    assert run(["train", *options, "--outside", str(tmp_path / "gone")]) == 2
    assert "gone" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def rewrite(folder: Path, change) -> None:
    """Change tensors and what the file says, and give the folder the new digest."""
    path = folder / "reference.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    said = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["fixhead"])
    tensors = load_file(path)
    change(tensors, said)
    save_file(tensors, path, metadata={"fixhead": json.dumps(said)})
    renew(folder)


def renew(folder: Path) -> None:
    content = json.loads((folder / "model.json").read_text())
    digest = hashlib.sha256((folder / "reference.safetensors").read_bytes()).hexdigest()
    content["description"]["reference"]["sha256"] = digest
    (folder / "model.json").write_text(json.dumps(content))


def cut(tensors, name, rows):
    tensors[name] = tensors[name][:rows].clone()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, said: said.update(schema="fixhead.reference/2"), "another|schema"),
        (lambda t, said: said["files"].__setitem__(0, "../../secret.png"), "leads out"),
        (lambda t, said: said["files"].__setitem__(0, "/etc/passwd"), "leads out"),
        (lambda t, said: said["files"].pop(), "the files of its pictures"),
        (lambda t, said: cut(t, "labels", 5), "labels \\(60,\\)"),
        (lambda t, said: t["labels"].fill_(7), "labels below 3"),
        (lambda t, said: cut(t, "origin", 3), "statistics of 64 features"),
        (lambda t, said: t.pop("alpha"), "the tensors"),
        (lambda t, said: t["features"].fill_(torch.nan), "finite"),
        (
            lambda t, said: t.update(
                features=t["features"][:, :5].clone(),
                origin=t["origin"][:5].clone(),
                directions=t["directions"][:5].clone(),
            ),
            "features of 5, and the model has 64",
        ),
    ],
    ids=[
        "version",
        "up",
        "absolute",
        "names",
        "labels",
        "classes",
        "origin",
        "less",
        "nan",
        "width",
    ],
)
def test_a_reference_that_does_not_fit_is_refused(copy, change, words):
    rewrite(copy, change)
    with pytest.raises(fixhead.RequestError, match=words):
        _ = fixhead.load(copy).reference


def test_a_reference_that_is_missing_cut_or_altered_is_refused(copy):
    path = copy / "reference.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(fixhead.RequestError, match="cut off or replaced"):
        _ = fixhead.load(copy).reference
    path.unlink()
    with pytest.raises(fixhead.RequestError, match="copy it, too"):
        _ = fixhead.load(copy).reference
    assert fixhead.load(copy).predict(np.zeros((12, 12, 3), "u1"))  # which needs none


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_bytes_of_its_header_do_anything_but_open_or_be_refused(folder, tmp_path_factory, data):
    copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp("fuzz") / "copy"))
    path = copy / "reference.safetensors"
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 7 + length))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    renew(copy)
    facts = facts_of(copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(fixhead.RequestError):
            read_reference(copy, facts)


def test_images_that_are_no_files_have_no_paths(tmp_path):
    options = [*QUICK, "--epochs", "1", "--out", str(tmp_path / "out")]
    assert run(["train", "--data", "digits", *options]) == 0
    [row] = read(tmp_path / "out" / "runs.jsonl")
    kept = fixhead.load(tmp_path / "out" / "runs" / row["run_id"]).reference
    assert len(kept.labels) == 200
    assert set(kept.files) == {None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 80) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(["schema", "root", "files", "one file", "all"]), value=JSON)
def test_nothing_that_it_says_does_anything_but_open_or_be_refused(
    folder, tmp_path_factory, name, value
):
    copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp("said") / "copy"))

    def change(tensors, said):
        if name == "one file":
            said["files"][3] = value
        elif name == "all":
            said.clear()
            said["schema"] = value
        else:
            said[name] = value

    rewrite(copy, change)
    with suppress(fixhead.RequestError):
        found = read_reference(copy, facts_of(copy))
        assert found is not None
        assert len(found.files) == len(found.labels)
