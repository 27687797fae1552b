"""A folder's features as one file: what it holds, that it trains, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fixhead
from fixhead.backbones import build
from fixhead.cli import run
from fixhead.data import load as load_data
from fixhead.data.sources.arrays import read_features
from fixhead.runs.layout import MODEL_FACTS_FILE
from fixhead.training import build_classifier, save_model

NAMES = ["ant", "bee", "cow"]


def saved(
    folder: Path, head: str = "simplex", channels: int = 1, seed: int = 0, names=NAMES
) -> Path:
    """A model that was not trained."""
    network = build("small-cnn", channels=channels, image_size=8, seed=seed)
    model = build_classifier(network, head, len(NAMES), counts=None, seed=0).eval()
    facts = {
        "backbone": "small-cnn", "channels": channels, "image_size": 8, "features": None,
        "neck": "none", "head": head, "classes": names, "seed": 0, "data": "none",
        "mean": [0.4] * channels, "std": [0.3] * channels,
    }  # fmt: skip
    save_model(folder, model, facts)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("embed") / "model")


def pictures(root: Path, *folders: str, number: int = 5) -> Path:
    draw = np.random.default_rng(0)
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for one in range(number):
            level = 60 * (1 + len(folder) % 3)
            pixels = draw.integers(0, level, (10, 10), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{one}.png")
    return root


def refused(capsys, *arguments: object) -> str:
    assert run([str(one) for one in arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("kind", [".npz", ".parquet"])
def test_the_file_holds_what_the_model_sees_of_every_picture(kind, model, tmp_path, capsys):
    folder, out = pictures(tmp_path / "photos", "dog", "zebra"), tmp_path / f"features{kind}"
    assert run(["embed", str(model), str(folder), "--out", str(out), "--device", "cpu"]) == 0
    assert "64 numbers for 10 pictures of 2 classes" in capsys.readouterr().out
    found = read_features(out)
    paths = found["paths"].tolist()
    assert paths == [f"{name}/{one}.png" for name in ("dog", "zebra") for one in range(5)]
    expected = fixhead.load(model).embed([folder / path for path in paths]).numpy()
    np.testing.assert_allclose(found["features"], expected, rtol=1e-5, atol=1e-6)
    assert found["features"].dtype == np.float32
    assert found["classes"].tolist() == ["dog", "zebra"]
    labels = found["labels"]
    words = labels.tolist() if kind == ".parquet" else found["classes"][labels].tolist()
    assert words == ["dog"] * 5 + ["zebra"] * 5


def test_the_passport_says_of_what_space_the_features_are(model, tmp_path):
    folder, out = pictures(tmp_path / "photos", "dog", "zebra"), tmp_path / "features.npz"
    assert run(["embed", str(model), str(folder), "--out", str(out)]) == 0
    space = json.loads(str(np.load(out)["space"]))
    head = fixhead.load(model).model.head
    written = json.loads((model / MODEL_FACTS_FILE).read_text())
    assert space == {
        "schema": "fixhead.features/1",
        "construction": "simplex",
        "learned": False,
        "classes": 3,
        "features": 64,
        "width": 64,
        "neck": "none",
        "code_width": None,
        "digest": head.class_vectors.digest(),
        "names": NAMES,
        "model": written["sha256"],
    }


def test_both_kinds_of_file_are_the_same_data_part_by_part(model, tmp_path):
    folder = pictures(tmp_path / "photos", "train/dog", "train/emu", "test/dog", "test/emu")
    sets = []
    for kind in (".npz", ".parquet"):
        out = tmp_path / f"features{kind}"
        assert run(["embed", str(model), str(folder), "--out", str(out)]) == 0
        sets.append(load_data(str(out)))
    for data in sets:
        assert data.classes == ("dog", "emu")
        assert (len(data.train), len(data.test)) == (10, 10)
    for part in ("train", "test"):
        one, other = (getattr(data, part) for data in sets)
        np.testing.assert_array_equal(np.asarray(one.images[:]), np.asarray(other.images[:]))
        np.testing.assert_array_equal(one.labels, other.labels)
    expected = fixhead.load(model).embed(sorted((folder / "test").rglob("*.png")))
    np.testing.assert_allclose(sets[0].test.images[:], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_the_same_pictures_make_the_same_file(model, tmp_path):
    folder = pictures(tmp_path / "photos", "dog", "zebra")
    for name in ("one.npz", "two.npz"):
        assert run(["embed", str(model), str(folder), "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "photos", "two.npz"]


@pytest.mark.parametrize("kind", [".npz", ".parquet"])
def test_a_bad_picture_is_passed_over_and_named_at_the_end(kind, model, tmp_path, capsys):
    folder, out = pictures(tmp_path / "photos", "dog", "zebra"), tmp_path / f"features{kind}"
    (folder / "dog" / "2.png").write_bytes(b"no picture")
    assert run(["embed", str(model), str(folder), "--out", str(out), "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["pictures"] == {"": 9}
    assert said.err.startswith("1 of 10 pictures were passed over:")
    assert "2.png" in said.err
    found = read_features(out)
    assert "dog/2.png" not in found["paths"].tolist()
    kept = fixhead.load(model).embed([folder / path for path in found["paths"]])
    np.testing.assert_allclose(found["features"], kept.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [".npz", ".parquet"])
def test_loose_pictures_have_features_and_no_labels(kind, model, tmp_path, capsys):
    folder, out = pictures(tmp_path, "loose") / "loose", tmp_path / f"features{kind}"
    assert run(["embed", str(model), str(folder), "--out", str(out)]) == 0
    assert "5 pictures without labels" in capsys.readouterr().out
    found = read_features(out)
    assert found["features"].shape == (5, 64)
    assert not {"labels", "classes"} & found.keys()
    assert "labels" in refused(capsys, "compare", "--data", out, "--out", tmp_path / "compared")


def test_more_pictures_than_a_row_group_are_all_there_in_their_order(model, tmp_path, monkeypatch):
    monkeypatch.setattr("fixhead.evaluation.embeddings.AT_A_TIME", 4)
    monkeypatch.setattr("fixhead.evaluation.embeddings.GROUP", 8)
    folder = pictures(tmp_path / "photos", "dog", "zebra", number=11)
    for kind in (".npz", ".parquet"):
        assert run(["embed", str(model), str(folder), "--out", str(tmp_path / f"f{kind}")]) == 0
    one, other = (read_features(tmp_path / f"f{kind}") for kind in (".npz", ".parquet"))
    np.testing.assert_array_equal(one["features"], other["features"])
    np.testing.assert_array_equal(one["paths"], other["paths"])
    assert len(one["features"]) == 22


@pytest.mark.parametrize("kind", [".npz", pytest.param(".parquet", marks=pytest.mark.slow)])
def test_heads_are_compared_on_the_file(kind, model, tmp_path):
    folder = pictures(tmp_path / "photos", "ox", "zebra", "wolf", number=12)
    out, compared = tmp_path / f"features{kind}", tmp_path / "compared"
    assert run(["embed", str(model), str(folder), "--out", str(out)]) == 0
    options = ["--data", str(out), "--heads", "learned-dot,simplex@learned", "--neck", "linear"]
    options += ["--seeds", "2", "--epochs", "1", "--jobs", "1", "--out", str(compared)]
    assert run(["compare", *options]) == 0
    results = json.loads((compared / "results.json").read_text())
    assert [arm["n"] for arm in results["arms"]] == [2, 2]


def test_what_cannot_be_embedded_is_refused(model, tmp_path, capsys):
    folder, out = pictures(tmp_path / "photos", "dog", "zebra"), tmp_path / "features.npz"
    say = lambda *rest: refused(capsys, "embed", model, *rest)  # noqa: E731
    assert ".npz or .parquet" in say(folder, "--out", tmp_path / "features.csv")
    assert "folder that is there" in say(folder, "--out", tmp_path / "no" / "features.npz")
    assert "which is none" in say(folder / "dog" / "0.png", "--out", out)
    (tmp_path / "empty").mkdir()
    assert "which has none" in say(tmp_path / "empty", "--out", out)
    assert "ONNX" in refused(capsys, "embed", tmp_path / "m.onnx", folder, "--out", out)
    out.write_text("mine")
    assert "--overwrite" in say(folder, "--out", out)
    assert out.read_text() == "mine"
    for picture in folder.rglob("*.png"):
        picture.write_bytes(b"no picture")
    assert "and 9 more" in say(folder, "--out", out, "--overwrite")
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "features.npz", "photos"]


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_parquet_file_that_is_cut_or_of_something_else_is_refused(damage, model, tmp_path):
    folder, out = pictures(tmp_path / "photos", "dog", "zebra"), tmp_path / "features.parquet"
    assert run(["embed", str(model), str(folder), "--out", str(out)]) == 0
    if damage == "cut":
        out.write_bytes(out.read_bytes()[:-20])
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"label": [1]}), out)
    with pytest.raises(fixhead.RequestError):
        read_features(out)


def test_the_digest_of_unstored_vectors_is_their_codes(tmp_path):
    from fixhead.evaluation.embeddings import space_of

    opened = fixhead.load(saved(tmp_path / "model", "vectors=implicit,code_width=128"))
    space = space_of(opened)
    assert space["digest"] == opened.model.head.class_vectors.digest()
    assert (space["features"], space["width"], space["code_width"]) == (64, 128, 128)


@pytest.mark.parametrize("kind", [".npz", ".parquet"])
def test_a_picture_of_the_index_is_its_own_nearest_and_the_order_is_by_cosine(
    kind, model, tmp_path, capsys
):
    folder = pictures(tmp_path / "photos", "train/dog", "train/emu", "test/dog", "test/emu")
    out, image = tmp_path / f"index{kind}", folder / "test" / "emu" / "3.png"
    assert run(["embed", str(model), str(folder), "--out", str(out)]) == 0
    capsys.readouterr()
    options = ["--model", str(model), "--top", "20", "--json"]
    assert run(["search", str(out), str(image), *options]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    [row] = json.loads(said.out)
    nearest = row["nearest"]
    assert (nearest[0]["path"], nearest[0]["label"]) == ("test/emu/3.png", "emu")
    assert nearest[0]["cosine"] == pytest.approx(1.0, abs=1e-5)
    opened = fixhead.load(model)
    features = opened.embed([folder / one["path"] for one in nearest]).double().numpy()
    query = opened.embed([image]).double().numpy()[0]
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(query)
    cosines = features @ query / lengths
    np.testing.assert_allclose([one["cosine"] for one in nearest], cosines, atol=1e-5)
    assert len(nearest) == 20
    assert [*cosines] == sorted(cosines, reverse=True)


def test_an_index_of_another_space_is_refused_and_of_the_same_vectors_taken(
    model, tmp_path, capsys
):
    folder, out = pictures(tmp_path / "photos", "dog", "zebra"), tmp_path / "index.npz"
    assert run(["embed", str(model), str(folder), "--out", str(out)]) == 0
    image = folder / "dog" / "0.png"
    others = {
        "construction": saved(tmp_path / "a", "orthonormal"),
        "names": saved(tmp_path / "b", names=["bee", "ant", "cow"], seed=3),
    }
    kept = out.read_bytes()
    for what, other in others.items():
        assert f"differs in {what}" in refused(capsys, "search", out, image, "--model", other)
    retrained = saved(tmp_path / "d", seed=7)
    assert run(["search", str(out), str(image), "--model", str(retrained)]) == 0
    assert "compatible" in capsys.readouterr().err
    assert "--top" in refused(capsys, "search", out, image, "--model", model, "--top", "0")
    assert "fixhead embed" in refused(capsys, "search", image, image, "--model", model)
    np.savez(tmp_path / "plain.npz", features=np.ones((2, 64)), labels=[0, 1])
    plain = tmp_path / "plain.npz"
    assert "of what space" in refused(capsys, "search", plain, image, "--model", model)
    assert out.read_bytes() == kept


@pytest.mark.parametrize(
    ("head", "words"), [("learned-cosine", "learned"), ("simplex-dr", "before a learned map")]
)
def test_models_that_share_no_direction_are_refused(head, words, tmp_path, capsys):
    one, other = (saved(tmp_path / f"{seed}", head, seed=seed) for seed in (0, 1))
    folder, out = pictures(tmp_path / "photos", "dog", "zebra"), tmp_path / "index.npz"
    assert run(["embed", str(one), str(folder), "--out", str(out)]) == 0
    image = folder / "dog" / "0.png"
    assert words in refused(capsys, "search", out, image, "--model", other)
    assert run(["search", str(out), str(image), "--model", str(one)]) == 0
