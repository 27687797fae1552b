"""timm's and torchvision's networks as backbones, and importing torchvision at all."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from fixhead._errors import RequestError
from fixhead._torchvision import import_torchvision
from fixhead.backbones import build


@pytest.mark.parametrize("first", ["timm", pytest.param("torchvision", marks=pytest.mark.slow)])
def test_torchvision_and_timm_import_in_a_fresh_process(first: str) -> None:
    program = (
        "import gc, torch\n"
        "from fixhead._torchvision import import_torchvision\n"
        "torchvision = import_torchvision()\n"
        f"import {first}\n"
        "gc.collect()\n"
        "assert import_torchvision() is torchvision\n"
        "torch.ops.torchvision.nms\n"
        "net = torchvision.models.resnet18().eval()\n"
        "print(tuple(net(torch.zeros(1, 3, 32, 32)).shape))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "(1, 1000)\n", done.stderr


def test_import_after_a_failed_import_elsewhere_gives_a_whole_torchvision() -> None:
    program = (
        "try:\n"
        "    import torchvision\n"
        "except RuntimeError:\n"
        "    pass\n"
        "from fixhead._torchvision import import_torchvision\n"
        "torchvision = import_torchvision()\n"
        "print(torchvision.extension._has_ops() in (True, False), torchvision.models.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True torchvision.models\n", done.stderr


@pytest.mark.parametrize(
    ("name", "features", "nonnegative"),
    [
        ("timm:resnet18", 512, True),
        ("resnet10t", 512, True),
        ("timm:resnet18.a1_in1k", 512, True),
        ("timm:convnext_atto", 320, False),
        ("timm:vit_tiny_patch16_224", 192, False),
        ("torchvision:resnet18", 512, True),
        ("torchvision:mobilenet_v3_small", 1024, False),
        ("torchvision:densenet121", 1024, True),
    ],
)
def test_size_and_sign_of_the_features_are_measured(
    name: str, features: int, nonnegative: bool
) -> None:
    backbone = build(name, channels=3, image_size=64, seed=0)
    assert (backbone.name, backbone.features) == (name, features)
    assert backbone.nonnegative is nonnegative
    assert backbone.train()(torch.zeros(2, 3, 64, 64)).shape == (2, features)


def test_timm_takes_grey_images_and_torchvision_says_that_it_does_not() -> None:
    backbone = build("timm:resnet18", channels=1, image_size=32, seed=0)
    assert backbone(torch.zeros(2, 1, 32, 32)).shape == (2, 512)
    with pytest.raises(RequestError, match="takes images with 3 channels, got 1; try timm:resnet"):
        build("torchvision:resnet18", channels=1, image_size=32, seed=0)


def test_one_seed_gives_one_timm_network() -> None:
    first = build("timm:resnet18", channels=3, image_size=32, seed=3).state_dict()
    again = build("timm:resnet18", channels=3, image_size=32, seed=3).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_features_are_those_that_torchvision_gives_its_classifier() -> None:
    backbone = build("torchvision:resnet18", channels=3, image_size=64, seed=0).eval()
    whole = import_torchvision().models.resnet18().eval()
    whole.load_state_dict(backbone.body.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(whole.fc(backbone(images)), whole(images))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision:vit_b_16", "cannot take images of 3×64×64 .*224"),
        ("torchvision:squeezenet1_0", "does not end in a linear layer"),
        ("timm:resnet18.no_such_weights", "cannot be had: Invalid pretrained tag"),
    ],
)
def test_networks_that_do_not_fit_are_refused(name: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        build(name, channels=3, image_size=64, seed=0)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_weights_that_cannot_be_had_are_one_sentence(
    library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    def no_network(*arguments: object, **options: object) -> None:
        raise OSError("Name or service not known\nsecond line")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", no_network)
    with pytest.raises(RequestError, match=r"weights of .*:resnet18 cannot be had") as caught:
        build(f"{library}:resnet18", channels=3, image_size=32, pretrained=True, seed=0)
    assert "\n" not in str(caught.value)
