"""The page to try a model with: its answers are the model's, and it takes nothing else."""

from __future__ import annotations

import io
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

import fixhead
from fixhead.cli import run
from fixhead.evaluation.serve import build_app

CLASSES = ("bright", "dark")


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels.astype("u1")).save(out, format="PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    root, draws = tmp_path_factory.mktemp("served"), np.random.default_rng(0)
    for kind, level in zip(CLASSES, (200, 50), strict=True):
        (root / kind).mkdir()
        for number in range(30):
            pixels = np.clip(level + draws.normal(0, 20, (8, 8, 3)), 0, 255)
            (root / kind / f"{number:02}.png").write_bytes(png(pixels))
    return root


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("serving") / "out"
    options = ["--head", "simplex", "--epochs", "2", "--batch-size", "8", "--device", "cpu"]
    assert run(["train", "--data", str(photos), *options, "--out", str(out)]) == 0
    return out / "runs" / "simplex-seed0"


@pytest.fixture(scope="module")
def client(folder) -> TestClient:
    app = build_app(fixhead.load(folder), title="light", reject=0.1, most_bytes=10_000)
    return TestClient(app, base_url="http://127.0.0.1")


def test_an_answer_is_the_models_own(client, folder, photos):
    file = photos / "dark" / "00.png"
    reply = client.post("/predict?top=2", content=file.read_bytes(), headers={"X-File-Name": "a"})
    assert reply.status_code == 200
    said, model = reply.json(), fixhead.load(folder)
    expected = model.predict(file, top=2, reject=0.1)[0]
    assert (said["image"], said["class"]) == ("a", expected.label)
    assert said["probability"] == pytest.approx(expected.probability, rel=1e-5)
    assert [one["class"] for one in said["top"]] == [name for name, _ in expected.classes]
    assert said["unknown"] is expected.unknown
    assert said["score"]["value"] == pytest.approx(expected.score, rel=1e-5)
    point = torch.nn.functional.normalize(model.embed(file))
    cosines = dict(
        zip(model.classes, (point @ model.model.head.vectors.T)[0].tolist(), strict=True)
    )
    assert {one["class"] for one in said["cosines"]} == set(CLASSES)
    for one in said["cosines"]:
        assert one["cosine"] == pytest.approx(cosines[one["class"]], abs=1e-5)
    assert said["cosines"][0]["cosine"] >= said["cosines"][1]["cosine"]


def test_the_nearest_training_images_are_shown_while_they_lie_there(client, folder, photos):
    kept = fixhead.load(folder).reference
    file = next(one for one in kept.files if one.parent.name == "bright")
    said = client.post("/predict", content=file.read_bytes()).json()["nearest"]
    assert said[0]["file"] == file.name
    assert said[0]["class"] == "bright"
    assert said[0]["cosine"] == pytest.approx(1.0, abs=1e-5)
    picture = client.get(f"/{said[0]['picture']}")
    assert picture.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(picture.content))), np.asarray(Image.open(file))
    )
    aside = file.with_suffix(".aside")
    file.rename(aside)
    try:
        again = client.post("/predict", content=aside.read_bytes()).json()["nearest"]
        assert (again[0]["file"], again[0]["picture"]) == (file.name, None)
        assert client.get(f"/{said[0]['picture']}").status_code == 404
    finally:
        aside.rename(file)
    for place in ("999", "-1", "x", "../model.json", "..%2f..%2fmodel.json"):
        assert client.get(f"/nearest/{place}").status_code in (404, 422)


def test_a_request_that_is_too_large_is_refused_whether_it_says_its_length_or_not(client):
    large = b"x" * 10_001
    told = client.post("/predict", content=large)
    untold = client.post("/predict", content=iter([large[:6000], large[6000:]]))
    for reply in (told, untold):
        assert reply.status_code == 413
        assert "--max-mib" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("/predict", b"", "got none"),
        ("/predict", b"no picture", "picture"),
        ("/predict?top=0", b"x", "top must be 1 or more"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(client, path, content, words):
    reply = client.post(path, content=content)
    assert reply.status_code == 422
    assert words in reply.json()["detail"]


def test_the_page_asks_no_other_machine_and_answers_to_this_ones_names_alone(client):
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "light" in page.text
    for text in (page.text, client.get("/page.js").text, client.get("/page.css").text):
        assert "http://" not in text
        assert "https://" not in text
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_names_of_classes_are_text_on_the_page(folder):
    app = build_app(fixhead.load(folder), title="<b>bold", reject=None, most_bytes=100)
    text = TestClient(app, base_url="http://localhost").get("/").text
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold" in text


def test_a_model_without_a_reference_or_calibration_is_served_too(folder, tmp_path, photos):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    model = fixhead.load(copy)
    for name in ("reference", "calibration"):
        del model.facts[name]
    app = build_app(model, title="bare", reject=None, most_bytes=10_000)
    client = TestClient(app, base_url="http://localhost")
    said = client.post("/predict", content=(photos / "dark" / "01.png").read_bytes()).json()
    assert (said["unknown"], said["score"], said["nearest"]) == (None, None, [])


def test_what_cannot_be_served_is_refused(folder, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(["serve", str(folder), "--port", port, "--device", "cpu"]) == 2
        assert "say another --port" in capsys.readouterr().err
    for options in (
        [str(tmp_path / "none")],
        [str(tmp_path / "model.onnx")],
        [str(folder), "--reject", "1"],
        [str(folder), "--max-mib", "0"],
    ):
        assert run(["serve", *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 4
