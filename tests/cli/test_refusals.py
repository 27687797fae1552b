"""Bad input: exit status 2, one sentence on standard error, nothing written over."""

import errno
import os
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from fixhead.cli import main, run


@pytest.fixture
def folder(tmp_path):
    """An image folder with two classes of six pictures, for training and test."""
    draw = np.random.default_rng(0)
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            place = tmp_path / "pictures" / part / label
            place.mkdir(parents=True)
            for number in range(6):
                pixels = draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FIXHEAD_CACHE", str(tmp_path / "cache"))


def refused(capsys, *arguments):
    status = run([str(argument) for argument in arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    progress = [line for line in lines if line.startswith(("[", "· "))]
    said = "\n".join(line for line in lines if line not in progress)
    assert status == 2, said
    assert len(said.splitlines()) == 1, said
    assert said.startswith("fixhead: ")
    return said


QUICK = ("--epochs", "1", "--seeds", "1")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--heads", "no-such-head", ["no-such-head", "simplex"]),
        ("--heads", "random-cosine@huge", ["huge"]),
        ("--heads", "random-dot@auto", ["dot"]),
        ("--heads", "", ["heads"]),
        ("--data", "no-such-data", ["no-such-data", "digits"]),
        ("--backbone", "no-such-net", ["no-such-net"]),
        ("--seeds", "0", ["seeds"]),
        ("--epochs", "0", ["epochs"]),
        ("--epochs", "many", ["--epochs", "integer"]),
        ("--lr", "-1", ["lr"]),
        ("--optimizer", "magic", ["magic"]),
        ("--schedule", "magic", ["magic"]),
        ("--precision", "7-true", ["7-true"]),
        ("--device", "toaster", ["toaster"]),
        ("--tune", "wd=1", ["lr=RATE"]),
        ("--augmentation", "wobble", ["wobble"]),
        ("--no-such-option", "1", ["no-such-option"]),
    ],
)
def test_an_option_that_means_nothing_is_refused(capsys, tmp_path, option, value, words):
    out = tmp_path / "out"
    said = refused(capsys, "compare", "--out", out, option, value)
    assert all(word in said for word in words), said
    assert not out.exists()


def test_a_simplex_of_too_many_classes_says_what_to_use(capsys, tmp_path):
    said = refused(
        capsys, "compare", "--heads", "simplex", "--features", "5", "--out", tmp_path / "out"
    )
    assert "simplex" in said
    assert not (tmp_path / "out").exists()


def test_a_folder_without_images_is_refused(capsys, tmp_path):
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    refused(capsys, "compare", "--data", tmp_path / "empty", "--out", tmp_path / "out")


def test_one_class_only_is_refused(capsys, tmp_path, folder):
    for part in ("train", "test"):
        for picture in (folder / part / "dog").iterdir():
            picture.unlink()
        (folder / part / "dog").rmdir()
    said = refused(capsys, "compare", "--data", folder, "--out", tmp_path / "out")
    assert "two classes" in said


def test_a_truncated_image_is_named(capsys, tmp_path, folder):
    broken = folder / "train" / "cat" / "3.png"
    broken.write_bytes(broken.read_bytes()[:40])
    said = refused(capsys, "compare", "--data", folder, "--out", tmp_path / "out")
    assert "3.png" in said


def test_classes_that_differ_between_train_and_test_are_refused(capsys, tmp_path, folder):
    (folder / "test" / "dog").rename(folder / "test" / "fox")
    said = refused(capsys, "compare", "--data", folder, "--out", tmp_path / "out")
    assert "dog" in said or "fox" in said


def test_another_configuration_in_the_same_folder_is_refused(capsys, tmp_path):
    out = tmp_path / "out"
    assert run(["compare", "--heads", "simplex", *QUICK, "--out", str(out)]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    said = refused(capsys, "compare", "--heads", "hadamard", *QUICK, "--out", out)
    assert "heads" in said
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_someone_elses_folder_is_refused(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    refused(capsys, "compare", "--out", tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_full_disk_keeps_the_finished_runs(capsys, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = ["compare", "--heads", "simplex,hadamard", *QUICK, "--out", str(out)]
    real, whole = os.write, []

    def full_after_one_record(handle, data):
        if whole:
            raise OSError(errno.ENOSPC, "No space left on device")
        if b"fixhead.run/1" in data:  # a finished run's, not an epoch's
            whole.append(handle)
        return real(handle, data)

    monkeypatch.setattr(os, "write", full_after_one_record)
    said = refused(capsys, *options)
    assert "disk is full" in said
    monkeypatch.undo()
    monkeypatch.setenv("FIXHEAD_CACHE", str(tmp_path / "cache"))
    lines = (out / "runs.jsonl").read_text().splitlines()
    assert len(lines) == 1
    assert run(options) == 0
    assert (out / "runs.jsonl").read_text().splitlines()[0] == lines[0]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of file sizes as on Linux")
def test_a_disk_that_takes_no_more_is_one_sentence_from_the_outside_too(
    capsys, tmp_path, monkeypatch, files_of_at_most
):
    # A limit on file sizes stands in for a full disk: the weights do not fit, the rows do.
    command = ["compare", "--heads", "simplex", *QUICK, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["fixhead", *command, "--out", str(tmp_path / "out")])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # main() sets its own
    with files_of_at_most(30_000), pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr().err
    assert left.value.code == 2, said
    assert "disk is full" in said.strip().splitlines()[-1]


def test_a_config_file_sets_options_and_the_command_line_wins(capsys, tmp_path):
    config = tmp_path / "mine.toml"
    config.write_text('heads = ["simplex", "hadamard"]\nseeds = 2\nepochs = 1\n')
    out = tmp_path / "out"
    assert run(["compare", "--config", str(config), "--seeds", "1", "--out", str(out)]) == 0
    rows = (out / "runs.jsonl").read_text().splitlines()
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("text", "word"), [("speed = 3", "speed"), ("seeds = [", "TOML"), (None, "readable")]
)
def test_a_config_file_that_cannot_be_used_is_refused(capsys, tmp_path, text, word):
    config = tmp_path / "mine.toml"
    if text is not None:
        config.write_text(text)
    said = refused(capsys, "compare", "--config", config, "--out", tmp_path / "out")
    assert word in said


def test_a_dry_run_writes_nothing(capsys, tmp_path):
    out = tmp_path / "out"
    assert run(["compare", "--dry-run", "--heads", "simplex", *QUICK, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "simplex-seed0" in said
    assert not out.exists()


def save_features(path, labels, *, spoil=False):
    draw = np.random.default_rng(0)
    features = draw.normal(size=(len(labels), 4)).astype(np.float32)
    if spoil:
        features[7, 2] = np.nan
    np.savez(path, features=features, labels=np.asarray(labels))


def test_not_a_number_in_the_data_is_refused_by_row(capsys, tmp_path):
    save_features(tmp_path / "data.npz", np.arange(40) % 2, spoil=True)
    said = refused(capsys, "compare", "--data", tmp_path / "data.npz", "--out", tmp_path / "out")
    assert "row 7" in said
    assert not (tmp_path / "out").exists()


def test_multi_label_targets_are_refused_by_name(capsys, tmp_path):
    save_features(tmp_path / "data.npz", np.eye(2, dtype=np.int64)[np.arange(40) % 2])
    said = refused(capsys, "compare", "--data", tmp_path / "data.npz", "--out", tmp_path / "out")
    assert "multi-label" in said
