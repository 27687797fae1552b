import csv
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import fixhead
from fixhead.cli import run
from fixhead.comparison import Comparison
from fixhead.comparison.context import sensible_backbone
from fixhead.evaluation.model_folder import Calibration
from fixhead.runs.records import read
from fixhead.training import load_classifier

QUICK = ["--epochs", "3", "--device", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "out"
    assert run(["train", "--head", "simplex", "--seed", "5", *QUICK, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def continued(trained, tmp_path_factory):
    """Two epochs more, with other options where something was said."""
    out = tmp_path_factory.mktemp("continued") / "out"
    options = ["--epochs", "2", "--lr", "0.01", "--sampling", "square-root", "--ema", "0.9"]
    log = ["--log", "csv"]
    assert run(["train", "--resume", str(trained), *options, *log, "--out", str(out)]) == 0
    return out


def test_a_finished_run_goes_on_from_its_weights(continued, trained):
    [before], [after] = read(trained / "runs.jsonl"), read(continued / "runs.jsonl")
    assert (after["run_id"], after["seed"], after["data"]) == ("simplex-seed5", 5, "digits")
    assert (after["epochs"], after["config"]["lr"], after["config"]["ema"]) == (2, 0.01, 0.9)
    assert after["config"]["batch_size"] == before["config"]["batch_size"]
    config = json.loads((continued / "config.json").read_text())["config"]
    assert config["sampling"] == "square-root"
    assert config["start_from"] == str(trained / "runs" / "simplex-seed5")
    first = read(continued / "runs" / "simplex-seed5" / "history.jsonl")[0]
    begun = read(trained / "runs" / "simplex-seed5" / "history.jsonl")[0]
    assert first["train_loss"] < begun["train_loss"] / 2


def test_every_epochs_figures_are_logged_beside_the_run(continued):
    history = read(continued / "runs" / "simplex-seed5" / "history.jsonl")
    with (continued / "logs" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2]
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in history]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--head", "hadamard"], "--head of a model that goes on must stay simplex"),
        (["--seed", "6"], "--seed of a model that goes on must stay 5"),
        (["--backbone", "resnet18"], "--backbone of a model that goes on must stay small-cnn"),
    ],
)
def test_what_a_model_cannot_change_is_refused(capsys, tmp_path, trained, options, words):
    out = tmp_path / "out"
    assert words in refused(capsys, "train", "--resume", trained, *options, "--out", out)
    assert not out.exists()


def test_only_one_finished_run_goes_on(capsys, tmp_path):
    assert "config.json" in refused(capsys, "train", "--resume", tmp_path, "--out", tmp_path / "o")


def test_an_unknown_log_and_one_whose_package_is_missing_are_refused(capsys, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert "--log must be one of" in refused(capsys, "train", "--log", "wandb", "--out", out)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    said = refused(capsys, "train", "--log", "tensorboard", "--out", out)
    assert "fixhead[tensorboard]" in said
    assert not out.exists()


@pytest.fixture
def pictures(tmp_path):
    """The first digits of the set, as grey pictures, with their classes."""
    pixels, labels = load_digits(return_X_y=True)
    found = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        image = (pixels[number].reshape(8, 8) * 255 / 16).round().astype(np.uint8)
        Image.fromarray(image).save(path)
        found.append((path, str(labels[number])))
    return found


def refused(capsys, *arguments):
    assert run([*map(str, arguments)]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fixhead: ")]
    assert len(said) == 1
    return said[0]


def test_one_run_is_that_of_a_comparison_with_its_seed(tmp_path, trained):
    options = ["--heads", "simplex", "--seeds", "1", "--first-seed", "5", *QUICK]
    assert run(["compare", *options, "--out", str(tmp_path)]) == 0
    [row], [twin] = read(trained / "runs.jsonl"), read(tmp_path / "runs.jsonl")
    assert row["run_id"] == twin["run_id"] == "simplex-seed5"
    for name in ("test_accuracy", "test_loss", "per_class_accuracy", "best_epoch"):
        assert row[name] == twin[name]


def test_started_again_it_trains_nothing_and_another_head_is_refused(capsys, trained):
    before = (trained / "runs.jsonl").read_bytes()
    options = ["--head", "simplex", "--seed", "5", *QUICK, "--out", str(trained), "--json"]
    assert run(["train", *options]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 5
    said = refused(capsys, "train", "--head", "hadamard", *QUICK, "--out", trained)
    assert "heads" in said or "first_seed" in said
    assert (trained / "runs.jsonl").read_bytes() == before


def test_seeds_that_begin_at_zero_leave_old_folders_theirs():
    assert Comparison(first_seed=0).digest == Comparison().digest
    assert Comparison(first_seed=1).digest != Comparison().digest


@pytest.mark.parametrize("options", [["--head", "no-such"], ["--seed", "-1"], ["--epochs", "0"]])
def test_a_run_that_cannot_be_is_refused_and_writes_nothing(capsys, tmp_path, options):
    refused(capsys, "train", *options, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pictures_get_the_models_own_calibrated_probabilities(capsys, trained, pictures):
    paths = [str(path) for path, _ in pictures]
    run_dir = trained / "runs" / "simplex-seed5"
    capsys.readouterr()
    assert run(["predict", str(run_dir), *paths, "--json", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    model, facts = load_classifier(run_dir)
    raw = np.stack([np.asarray(Image.open(path)) for path in paths])[:, None]
    images = (torch.from_numpy(raw).float() / 255 - facts["mean"][0]) / facts["std"][0]
    with torch.no_grad():
        expected = (model(images) / facts["calibration"]["temperature"]).softmax(dim=1)
    for one, row, path in zip(found, expected, paths, strict=True):
        assert one["image"] == path
        assert one["class"] == facts["classes"][int(row.argmax())]
        assert one["probability"] == pytest.approx(float(row.max()), rel=1e-4)
        assert len(one["top"]) == 3
    right = [one["class"] == label for one, (_, label) in zip(found, pictures, strict=True)]
    assert sum(right) >= 9


def test_a_folder_with_one_run_and_colour_pictures_are_taken_too(capsys, tmp_path, trained):
    path = tmp_path / "colour.png"
    Image.new("RGB", (30, 20), "navy").save(path)
    assert run(["predict", str(trained), str(path), "--top", "1"]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: ")


def test_what_cannot_be_predicted_is_refused(capsys, tmp_path, trained, pictures):
    path = pictures[0][0]
    (tmp_path / "no.png").write_text("no picture")
    assert "no.png" in refused(capsys, "predict", trained, tmp_path / "no.png")
    assert "none.png" in refused(capsys, "predict", trained, tmp_path / "none.png")
    assert "--top" in refused(capsys, "predict", trained, path, "--top", "0")
    assert "does not exist" in refused(capsys, "predict", tmp_path / "nowhere", path)


def test_a_folder_is_walked_and_bad_files_are_reported_at_the_end(
    capsys, tmp_path, trained, pictures
):
    folder = tmp_path / "to see"
    (folder / "deep" / "er").mkdir(parents=True)
    good = [folder / "a.png", folder / "deep" / "b.png", folder / "deep" / "er" / "c.png"]
    for (path, _), place in zip(pictures, good, strict=False):
        place.write_bytes(path.read_bytes())
    (folder / "cut.png").write_bytes(good[0].read_bytes()[:40])
    (folder / "deep" / "text.png").write_text("no picture")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "notes.txt").write_text("no picture either")
    capsys.readouterr()
    assert run(["predict", str(trained), str(folder), str(pictures[3][0]), "--json"]) == 1
    said = capsys.readouterr()
    found = [one["image"] for one in json.loads(said.out)]
    assert sorted(found) == sorted(map(str, [*good, pictures[3][0]]))
    assert found[-1] == str(pictures[3][0])
    assert "3 of 7 pictures were passed over" in said.err
    assert all(name in said.err for name in ("cut.png", "text.png", "gone.png"))
    assert "notes.txt" not in said.err
    alone = [json.loads(said.out)[0]["probability"]]
    assert run(["predict", str(trained), str(found[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["probability"] == pytest.approx(alone[0])


def test_rows_of_commas_and_names_on_standard_input(capsys, monkeypatch, trained, pictures):
    lines = [str(path) for path, _ in pictures[:3]]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*lines, "", "gone.png"])))
    capsys.readouterr()
    options = ["--csv", "--top", "2", "--reject", "0.05"]
    assert run(["predict", str(trained), "-", *options]) == 1
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [row["image"] for row in rows] == lines
    assert list(rows[0])[1:5] == ["class", "probability", "class_2", "probability_2"]
    assert {row["unknown"] for row in rows} <= {"true", "false"}
    assert "1 of 4 pictures were passed over" in said.err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "none on standard input" in refused(capsys, "predict", trained, "-")


@pytest.mark.parametrize("score", [None, "energy", "largest-cosine"])
def test_a_rate_of_rejection_is_that_of_the_validation_images(capsys, tmp_path, trained, score):
    pixels, _ = load_digits(return_X_y=True)
    for number in range(200):
        image = (pixels[number].reshape(8, 8) * 255 / 16).round().astype(np.uint8)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    for number in range(20):  # no digits
        noise = np.random.default_rng(number).integers(0, 256, (8, 8)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / f"noise{number}.png")
    capsys.readouterr()
    options = ["--reject", "0.1", *(["--score", score] if score else []), "--json"]
    assert run(["predict", str(trained), str(tmp_path), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    known = [one["unknown"] for one in found if "noise" not in one["image"]]
    noise = [one["unknown"] for one in found if "noise" in one["image"]]
    assert 0 < sum(known) / len(known) < 0.25
    assert sum(noise) / len(noise) > 2 * sum(known) / len(known)
    facts = load_classifier(trained / "runs" / "simplex-seed5")[1]
    scores = facts["calibration"]["scores"][score or "energy"]
    limit = Calibration.of(facts).threshold(0.1, score or "energy")
    assert sum(one < limit for one in scores) == len(scores) // 10
    assert all(one["unknown"] == (one["score"] < limit) for one in found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--reject", "1"], "--reject must be a rate"),
        (["--reject", "0.1", "--score", "magic"], "--score must be one of"),
        (["--score", "energy"], "goes with --reject"),
        (["--json", "--csv"], "exclude each other"),
    ],
)
def test_a_rejection_that_cannot_be_had_is_refused(capsys, trained, pictures, options, words):
    assert words in refused(capsys, "predict", trained, pictures[0][0], *options)


@pytest.mark.parametrize("content", [None, "no picture"])
def test_a_folder_without_a_picture_that_can_be_read_is_refused(capsys, tmp_path, trained, content):
    folder = tmp_path / "bare"
    folder.mkdir()
    if content is not None:
        (folder / "one.png").write_text(content)
    assert "bare" in refused(capsys, "predict", trained, folder)


def test_several_models_are_refused_by_name(capsys, tmp_path, pictures):
    out = tmp_path / "two"
    options = ["--heads", "simplex,hadamard", "--epochs", "1", "--seeds", "1", "--device", "cpu"]
    assert run(["compare", *options, "--out", str(out)]) == 0
    assert "hadamard-seed0" in refused(capsys, "predict", out, pictures[0][0])


def images_of(size, channels=3, shape=None):
    images = SimpleNamespace(shape=shape or (5, channels, size, size))
    return SimpleNamespace(image_size=size, channels=channels, train=SimpleNamespace(images=images))


@pytest.mark.parametrize(
    ("dataset", "backbone"),
    [
        (images_of(8, 1), "small-cnn"),
        (images_of(32), "small-cnn"),
        (images_of(33), "resnet18"),
        (images_of(64), "resnet18"),
        (images_of(65), "timm:resnet18"),
        (images_of(1, 20, (5, 20)), "identity"),
    ],
)
def test_a_network_that_fits_the_images_is_taken_and_said(monkeypatch, dataset, backbone):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    chosen = sensible_backbone(dataset)
    assert (chosen.backbone, chosen.pretrained) == (backbone, False)
    assert chosen.why.startswith(f"backbone: {backbone}, because")


@pytest.mark.parametrize(("channels", "cached"), [(3, True), (3, False), (1, True)])
def test_published_weights_are_taken_where_they_lie_here(monkeypatch, tmp_path, channels, cached):
    lies = str(tmp_path) if cached else None
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: lies)
    chosen = sensible_backbone(images_of(224, channels))
    assert chosen.pretrained is (cached and channels == 3)
    assert ("--pretrained fetches them" in chosen.why) is (channels == 3 and not cached)


def test_a_folder_that_was_begun_keeps_its_network(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    options = ["--head", "simplex", "--epochs", "1", "--device", "cpu", "--out", str(out)]
    begun = ["--lr", "0.05", "--backbone", "resnet32"]
    monkeypatch.setattr("fixhead.comparison.job.compare", lambda *args, **named: stop(args))
    stopped: list[Comparison] = []

    def stop(args):
        stopped.append(args[0])
        raise fixhead.RequestError("enough")

    assert run(["train", *options]) == 2
    assert "backbone: small-cnn, because the images have 8 pixels" in capsys.readouterr().err
    assert run(["train", *options, *begun]) == 2
    out.mkdir()
    config = {"config": stopped[1].to_dict()}
    monkeypatch.setattr("fixhead.runs.store.read_config", lambda _: config)
    (out / "config.json").write_text("{}")
    assert run(["train", *options]) == 2
    assert [one.backbone for one in stopped] == ["small-cnn", "resnet32", "resnet32"]
    assert [one.recipe.lr for one in stopped] == [0.1, 0.05, 0.05]
    assert "backbone:" not in capsys.readouterr().err


def test_photos_get_the_network_of_their_size_and_feature_arrays_none(
    tmp_path, capsys, monkeypatch
):
    draws = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            pixels = draws.integers(0, 256, (40, 50, 3)).astype("u1")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    rows = {"features": draws.normal(size=(20, 6)).astype("f4"), "labels": np.arange(20) % 2}
    np.savez(tmp_path / "rows.npz", **rows)
    taken: list[Comparison] = []

    def stop(comparison, *_args, **_named):
        taken.append(comparison)
        raise fixhead.RequestError("enough")

    monkeypatch.setattr("fixhead.comparison.job.compare", stop)
    options = ["--device", "cpu", "--out", str(tmp_path / "out"), "--head", "learned-dot"]
    photos = ["--data", str(tmp_path / "photos"), "--image-size", "40"]
    assert run(["train", *photos, *options]) == 2
    assert "backbone: resnet18, because at 40 pixels" in capsys.readouterr().err
    assert run(["train", "--data", str(tmp_path / "rows.npz"), *options]) == 2
    assert "backbone:" not in capsys.readouterr().err
    assert [one.backbone for one in taken] == ["resnet18", Comparison.backbone]
