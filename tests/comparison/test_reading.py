"""What a person says of how data are read reaches every run, its record and its evaluation."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from making import noise, put_image
from PIL import Image

from fixhead import RequestError
from fixhead.cli import run
from fixhead.comparison import Comparison
from fixhead.comparison.context import load_data, prepare
from fixhead.runs.records import read

QUICK = ["--heads", "simplex", "--epochs", "1", "--seeds", "1", "--device", "cpu"]


def put_classes(root, sizes):
    for place, (name, size) in enumerate(sizes.items()):
        for number in range(size):
            pixels = noise(8, 8, 3, seed=100 * place + number)
            put_image(root / name / f"video{number // 4}_{number}.png", pixels)
    return root


@pytest.fixture
def pictures(tmp_path):
    """Twelve classes whose sorted and natural orders differ."""
    return put_classes(tmp_path / "pictures", {str(number): 12 for number in range(12)})


def test_what_was_read_how_is_in_config_and_model_and_evaluation_reads_so_again(
    tmp_path, pictures, capsys
):
    broken = pictures / "3" / "broken.png"
    broken.write_bytes(b"x")
    out = tmp_path / "out"
    options = ["--data", str(pictures), "--class-order", "natural", "--skip-unreadable"]
    options += ["--keep-together", r"video\d+"]
    assert run(["compare", *options, *QUICK, "--out", str(out)]) == 0
    said = capsys.readouterr().err
    for words in (
        "augmentation: crop:1,flip (auto); images are flipped",
        "whole groups",
        "left out 1",
    ):
        assert words in said
    [row] = read(out / "runs.jsonl")
    assert row["classes"] == [str(number) for number in range(12)]
    assert "broken.png" in str(row["skipped_images"])
    assert json.loads((out / "config.json").read_text())["config"]["class_order"] == "natural"
    model = json.loads((out / "runs" / row["run_id"] / "model.json").read_text())
    assert model["description"]["reading"]["keep_together"] == r"video\d+"
    assert run(["evaluate", str(out / "runs" / row["run_id"]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"][0]["accuracy"] == row["test_accuracy"]


def test_folders_begun_before_there_were_such_options_go_on():
    assert Comparison(class_order=None, skip_unreadable=False).digest == Comparison().digest
    assert Comparison(train_part="a").digest != Comparison().digest


def test_another_content_of_an_order_file_is_another_comparison(tmp_path):
    digests = set()
    for name in ("a", "b"):
        (tmp_path / "order.txt").write_text(name)
        digests.add(Comparison(class_order=str(tmp_path / "order.txt")).digest)
    assert len(digests) == 2


def test_validation_keeps_groups_together_for_every_seed(pictures):
    setting = prepare(
        Comparison(data=str(pictures), keep_together=r"\d+/video\d+", heads=("simplex",))
    )
    groups = setting.dataset.train.groups
    for seed in range(3):
        first, second = setting.validation_cut(seed)
        assert not set(groups[first]) & set(groups[second])
        parts = setting.parts(seed, 8)
        assert len(parts.validation.split) == len(second)


def test_heads_that_cannot_be_are_refused_before_images_are_decoded(pictures, monkeypatch):
    monkeypatch.setattr("fixhead.data.sources.request.decode_into", None)
    for head, features in (("simplex", 8), ("simplex-dr", 4)):
        chosen = Comparison(data=str(pictures), heads=("random-dot", head), features=features)
        with pytest.raises(RequestError, match=f"--heads {head}: .*; --features 16 would do"):
            prepare(chosen)


def test_the_default_network_has_enough_features_or_says_so(tmp_path):
    root = put_classes(tmp_path / "d", {f"c{number:03d}": 2 for number in range(101)})
    with pytest.raises(RequestError, match=r"--heads simplex: .*; --features 128 would do"):
        prepare(Comparison(data=str(root), heads=("simplex",)))


def test_a_tail_of_unequal_folders_goes_by_size_and_says_so(tmp_path):
    root = put_classes(tmp_path / "d", {"a": 8, "b": 40, "c": 20})
    tailed = load_data(Comparison(data=str(root), imbalance="exp:0.5"))
    counts = tailed.train.counts(3)
    assert counts[1] >= counts[2] >= counts[0]
    note = next(note for note in tailed.notes if "long tail" in note)
    assert "exp:0.5,order=size" in note
    assert "counted from 18 images a class" in note
    assert "order of their sizes, the largest first" in note
    by_index = load_data(Comparison(data=str(root), imbalance="exp:0.5,order=index"))
    assert by_index.train.counts(3).tolist() != counts.tolist()


def test_named_and_equal_sets_keep_the_published_order(pictures):
    plain = load_data(Comparison(data=str(pictures), imbalance="exp:0.5")).train.counts(12)
    assert np.array_equal(plain, np.sort(plain)[::-1])
    notes = load_data(Comparison(imbalance="exp:0.1")).notes
    assert any("order of their numbers" in note for note in notes)


def test_features_keep_their_groups(tmp_path):
    subject = np.arange(80) // 4
    features = torch.randn(80, 5, generator=torch.Generator().manual_seed(0)).numpy()
    np.savez(tmp_path / "x.npz", features=features, labels=subject % 2, subject=subject)
    data = load_data(Comparison(data=str(tmp_path / "x.npz"), keep_together="subject"))
    assert len(set(data.train.groups.tolist())) == 16


@pytest.fixture
def rows(tmp_path):
    """Features of five classes that lie apart."""
    draw = np.random.default_rng(0)
    labels = np.arange(200) % 5
    means = 2 * draw.normal(size=(5, 12))
    features = (means[labels] + draw.normal(size=(200, 12))).astype(np.float32)
    np.savez(tmp_path / "x.npz", features=features, labels=labels)
    return str(tmp_path / "x.npz")


def test_feature_arrays_train_through_the_identity_and_are_evaluated(tmp_path, rows, capsys):
    options = ["--data", rows, "--heads", "learned-dot,simplex", "--neck", "linear"]
    options += ["--epochs", "4", "--seeds", "1", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert run(["compare", *options]) == 0
    assert "backbone: identity, because the data are features" in capsys.readouterr().err
    for row in read(tmp_path / "out" / "runs.jsonl"):
        assert row["backbone"] == "identity"
        assert row["features"] == 12
        assert row["test_accuracy"] > 0.8
    assert run(["evaluate", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [model["accuracy"] for model in found["models"]] == [
        row["test_accuracy"] for row in read(tmp_path / "out" / "runs.jsonl")
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "resnet18"}, "features need --backbone identity, got resnet18"),
        ({"heads": ("simplex",)}, "--heads simplex: nothing would be trained.*--neck linear"),
        ({"features": 3, "heads": ("simplex",)}, "--heads simplex: .*; --features 4 would do"),
    ],
)
def test_what_features_cannot_do_says_what_would(rows, options, words):
    with pytest.raises(RequestError, match=words):
        prepare(Comparison(data=rows, **options))


def test_frames_on_both_sides_of_the_cut_are_warned_of_until_they_are_kept_together(tmp_path):
    draw = np.random.default_rng(0)
    for video in range(16):
        coarse = draw.integers(0, 256, (4, 4, 3)).repeat(8, axis=0).repeat(8, axis=1)
        for frame in range(5):
            pixels = np.clip(coarse + draw.integers(-4, 5, coarse.shape), 0, 255).astype(np.uint8)
            put_image(tmp_path / "d" / "ab"[video % 2] / f"video{video}_{frame}.png", pixels)
    chosen = Comparison(data=str(tmp_path / "d"), heads=("random-dot",))
    warned = [line for line in prepare(chosen).choices if line.startswith("leak")]
    assert len(warned) == 2
    assert all("--keep-together" in line for line in warned)
    kept = replace(chosen, keep_together=r"video\d+_")
    assert not [line for line in prepare(kept).choices if line.startswith("leak")]


def test_pictures_are_predicted_with_the_bits_that_training_found(tmp_path, capsys):
    for label, level in (("dark", 500), ("light", 3000)):
        (tmp_path / "d" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.full((8, 8), level + 90 * number, dtype=np.uint16)
            Image.fromarray(pixels).save(tmp_path / "d" / label / f"{number}.png")
    options = ["--data", str(tmp_path / "d"), "--heads", "learned-dot", "--augmentation", "none"]
    options += ["--epochs", "8", "--batch-size", "8", "--seeds", "1", "--device", "cpu"]
    assert run(["compare", *options, "--out", str(tmp_path / "out")]) == 0
    assert "the 16-bit images use only 12 bits" in capsys.readouterr().err
    pictures = [str(tmp_path / "d" / label / "3.png") for label in ("dark", "light")]
    assert run(["predict", str(tmp_path / "out"), *pictures, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["class"] for one in found] == ["dark", "light"]
