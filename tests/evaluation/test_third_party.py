"""timm and torchvision classifiers with saved weights, evaluated as they are."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fixhead.backbones.external import build_full
from fixhead.cli import run

TIMM = "timm:resnet10t"
TORCHVISION = "torchvision:squeezenet1_0"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """An image folder of three classes, 32 pixels a side."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for part, number in (("train", 4), ("test", 10)):
        for place, name in enumerate(("red", "green", "blue")):
            (folder / part / name).mkdir(parents=True)
            for at in range(number):
                pixels = rng.integers(0, 120, (32, 32, 3), dtype=np.uint8)
                pixels[:, :, place] += 100
                Image.fromarray(pixels).save(folder / part / name / f"{at}.png")
    return folder


def _network(name, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_full(name, 3, 32, 3).eval()


def _expected(network, folder, mean, std):
    """The network's own decisions, image by image, without any code of the package."""
    told = {}
    for place, name in enumerate(sorted(("red", "green", "blue"))):
        for path in sorted((folder / "test" / name).iterdir()):
            pixels = torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1) / 255
            image = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
            with torch.no_grad():
                told[name, path.name] = (place, int(network(image[None]).argmax()))
    matrix = np.zeros((3, 3), dtype=int)
    for truth, decision in told.values():
        matrix[truth, decision] += 1
    return matrix.tolist()


MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
NORMALISED = ["--mean", "0.5,0.4,0.3", "--std", "0.2,0.25,0.3"]


def _evaluated(capsys, *arguments):
    status = run(["evaluate", *map(str, arguments), "--json", "--device", "cpu"])
    said = capsys.readouterr()
    assert status == 0, said.err
    return json.loads(said.out)


@pytest.mark.parametrize("wrapping", ["plain", "lightning", "parallel", "safetensors"])
def test_a_timm_model_decides_as_its_own_network_does(capsys, tmp_path, pictures, wrapping):
    network = _network(TIMM)
    state = network.state_dict()
    path = tmp_path / "weights.pth"
    if wrapping == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    elif wrapping == "parallel":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        torch.save({"state_dict": state} if wrapping == "lightning" else state, path)
    options = ["--architecture", TIMM, "--data", pictures, *NORMALISED]
    found = _evaluated(capsys, path, *options)
    model = found["models"][0]
    assert model["geometry"]["confusion"] == _expected(network, pictures, MEAN, STD)
    assert (model["name"], model["head"], model["backbone"]) == ("weights", "learned-dot", TIMM)
    W = network.get_classifier().weight.detach().double()
    W = W / W.norm(dim=1, keepdim=True)
    assert np.allclose(model["geometry"]["class_cosines"], W @ W.T, atol=1e-3)
    assert (tmp_path / "evaluation.html").read_text().startswith("<!doctype html>")


def test_a_torchvision_model_goes_too(capsys, tmp_path, pictures):
    name = "torchvision:mobilenet_v3_small"
    network = _network(name)
    torch.save(network.state_dict(), tmp_path / "own.pt")
    options = ["--architecture", name, "--data", pictures, "--projection", "none"]
    found = _evaluated(capsys, tmp_path / "own.pt", *options, "--out", tmp_path / "out")
    assert found["models"][0]["images"] == 30
    assert found["models"][0]["projections"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["--architecture"]),
        (["--architecture", TIMM], ["--data"]),
        (["--architecture", "timm:no-such-net", "--data", "PICTURES"], ["no-such-net"]),
        (["--architecture", "hub:resnet", "--data", "PICTURES"], ["hub:resnet"]),
        (["--architecture", "timm:resnet18", "--data", "PICTURES"], ["resnet18"]),
        (["--architecture", TORCHVISION, "--data", "PICTURES"], ["another network"]),
        (["--architecture", TIMM, "--data", "PICTURES", "--mean", "a,b"], ["--mean"]),
        (["--architecture", TIMM, "--data", "PICTURES", "--mean", "0.5"], ["mean"]),
        (["--image-size", "32"], ["--architecture"]),
    ],
)
def test_weights_that_cannot_be_used_are_refused(capsys, tmp_path, pictures, options, words):
    path = tmp_path / "weights.pth"
    torch.save(_network(TIMM).state_dict(), path)
    given = [str(pictures) if word == "PICTURES" else word for word in options]
    assert run(["evaluate", str(path), *given]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not (tmp_path / "evaluation.json").exists()


@pytest.mark.parametrize("content", [b"no weights", b""])
def test_a_file_that_is_no_state_dict_is_named(capsys, tmp_path, pictures, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert run(["evaluate", str(path), "--architecture", TIMM, "--data", str(pictures)]) == 2
    assert "state dict" in capsys.readouterr().err


def test_a_network_of_other_classes_is_refused(capsys, tmp_path, pictures):
    path = tmp_path / "weights.pth"
    torch.save(build_full(TIMM, 3, 32, 10).state_dict(), path)
    assert run(["evaluate", str(path), "--architecture", TIMM, "--data", str(pictures)]) == 2
    assert "do not fit" in capsys.readouterr().err


def test_averaged_weights_are_evaluated_and_it_is_said(capsys, tmp_path, pictures):
    path = tmp_path / "checkpoint.pth"
    raw, averaged = _network(TIMM), _network(TIMM, seed=1)
    torch.save(
        {
            "epoch": 3,
            "args": argparse.Namespace(model="resnet10t"),
            "state_dict": {f"module.{name}": t for name, t in raw.state_dict().items()},
            "state_dict_ema": averaged.state_dict(),
        },
        path,
    )
    given = [path, "--architecture", TIMM, "--data", pictures, *NORMALISED, "--overwrite"]
    for options, network, kind in (([], averaged, "averaged"), (["--weights", "raw"], raw, "raw")):
        assert run(["evaluate", *map(str, given), *options, "--json", "--device", "cpu"]) == 0
        said = capsys.readouterr()
        found = json.loads(said.out)
        expected = _expected(network, pictures, MEAN, STD)
        assert found["models"][0]["geometry"]["confusion"] == expected
        assert f"the {kind}" in said.err
        assert any(f"the {kind}" in note for note in found["notes"])


def test_which_weights_is_a_question_for_files_of_weights_only(capsys, tmp_path):
    assert run(["evaluate", str(tmp_path), "--weights", "ema"]) == 2
    assert "--architecture" in capsys.readouterr().err
    given = ["--architecture", TIMM, "--weights", "best"]
    assert run(["evaluate", str(tmp_path / "w.pth"), *given]) == 2
    assert "ema or raw" in capsys.readouterr().err


@pytest.fixture
def numbered(tmp_path):
    """Twelve folders that sort otherwise than they count."""
    for part in ("train", "test"):
        for number in range(12):
            place = tmp_path / "numbers" / part / str(number)
            place.mkdir(parents=True)
            for at in range(2):
                Image.new("RGB", (32, 32), (20 * number, 0, 90 * at)).save(place / f"{at}.png")
    return tmp_path / "numbers"


def test_the_order_of_timms_folders_is_warned_of_and_can_be_asked_for(capsys, tmp_path, numbered):
    network = build_full(TIMM, 3, 32, 12).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    command = [tmp_path / "w.pth", "--architecture", TIMM, "--data", numbered]
    with pytest.warns(UserWarning, match=r"class 2 is '10' .* '2' in the natural order that timm"):
        _evaluated(capsys, *command, "--out", tmp_path / "a")
    found = _evaluated(capsys, *command, "--class-order", "natural", "--out", tmp_path / "b")
    assert found["classes"] == [str(number) for number in range(12)]
    sorted_order = _evaluated(capsys, *command, "--class-order", "sorted", "--out", tmp_path / "c")
    assert sorted_order["classes"][2] == "10"


def test_weights_of_more_classes_are_tested_on_some_of_them(capsys, tmp_path, pictures):
    names = ["blue", "cyan", "green", "red", "violet"]
    network = build_full(TIMM, 3, 32, 5).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    (tmp_path / "map.json").write_text(json.dumps(dict(enumerate(names))))
    command = [tmp_path / "w.pth", "--architecture", TIMM, "--data", pictures]
    found = _evaluated(capsys, *command, "--class-map", tmp_path / "map.json", "--out", tmp_path)
    assert found["classes"] == names
    matrix = np.array(found["models"][0]["geometry"]["confusion"])
    assert matrix.sum(axis=1).tolist() == [10, 0, 10, 10, 0]
