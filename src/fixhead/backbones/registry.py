"""From a name to a backbone, and the default for handwritten digits."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from torch import nn

from .._errors import MissingExtraError, RequestError
from .._seeds import forked
from . import external
from .backbone import Backbone, NeckName
from .compact import densenet_bc, mobilenetv2, shufflenet
from .resnet import preact_resnet18, resnet18, resnet32, resnet56, resnet101

SMALLEST_IMAGE = 8


def small_cnn(channels: int, image_size: int) -> nn.Sequential:
    """Four convolutions for handwritten digits, fast on two CPU cores.

    Images (N, C, H, W) → features (N, 64), non-negative; 60,400 parameters at C = 1.

    Four blocks of 3×3 convolution, batch normalisation and ReLU, 16, 32, 64 and 64 wide, then the
    mean over positions. The third block halves the image, the first one above 16 pixels too and
    the second one above 32:

        8 px: 8, 8, 4, 4      28 px: 14, 14, 7, 7      64 px: 32, 16, 8, 8
    """
    strides = (2 if image_size > 16 else 1, 2 if image_size > 32 else 1, 2, 1)
    widths = (channels, 16, 32, 64, 64)
    blocks = [_block(widths[i], widths[i + 1], stride) for i, stride in enumerate(strides)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


Maker = Callable[[int, int], nn.Module]

# name: (channels, image_size) → body, and d. Every one ends in a pooled ReLU.
_BUILT_IN: dict[str, tuple[Maker, int]] = {
    "small-cnn": (small_cnn, 64),
    "resnet18": (lambda channels, _: resnet18(channels), 512),
    "preact-resnet18": (lambda channels, _: preact_resnet18(channels), 512),
    "resnet32": (lambda channels, _: resnet32(channels), 64),
    "resnet32x2": (lambda channels, _: resnet32(channels, width=32), 128),
    "resnet56": (lambda channels, _: resnet56(channels), 64),
    "resnet101": (lambda channels, _: resnet101(channels), 2048),
    "mobilenetv2": (lambda channels, _: mobilenetv2(channels), 1280),
    "densenet-bc-100-12": (lambda channels, _: densenet_bc(channels, depth=100), 342),
    "densenet-bc-150-12": (lambda channels, _: densenet_bc(channels), 510),
    # in ImageNet's layout: a quarter of the image's size after the stem
    "shufflenet": (lambda channels, _: shufflenet(channels), 960),
}

IDENTITY = "identity"
NAMES: tuple[str, ...] = (*_BUILT_IN, IDENTITY)
"""fixhead's own backbones; any timm name, ``timm:NAME`` and ``torchvision:NAME`` work too."""


def build(
    name: str,
    *,
    channels: int,
    image_size: int,
    features: int | None = None,
    neck: NeckName = "none",
    pretrained: bool = False,
    seed: int,
) -> Backbone:
    """The backbone of that name: images (N, C, H, W) → features (N, d).

    Names, in the order in which they are looked up:

    - fixhead's own: ``NAMES``, all but ``shufflenet`` in the style of CIFAR networks (3×3 stem, no
      max-pool). Plain ``resnet18`` and ``resnet101`` are these; for ImageNet's layout say
      ``timm:resnet18``. All end in a pooled ReLU: their features are non-negative.
    - ``identity``: rows of features as they are (pixels, for images), for feature arrays.
    - ``timm:NAME``, or a bare timm name; ``torchvision:NAME``. Whether their features are
      non-negative is measured on noise.

    Args:
        channels: C of the images.
        image_size: H = W of the images.
        features: d; anything but None adds a linear neck to that size.
        neck: ``"linear"`` or ``"batchnorm"`` (keeps d); after a neck features take both signs.
        pretrained: load published weights (timm and torchvision only).
        seed: draws the initial weights from the streams ``(seed, "backbone")`` and
            ``(seed, "neck")``, so that arms with one seed start from identical weights.

    Raises:
        RequestError: an unknown name, images that the network does not take, a neck that does not
            fit, or weights that cannot be had.
    """
    if channels < 1 or (image_size < SMALLEST_IMAGE and name != IDENTITY):
        raise RequestError(
            f"a backbone needs images with at least 1 channel and {SMALLEST_IMAGE} pixels a side, "
            f"got {channels} and {image_size}; enlarge the images"
        )
    with forked(seed, "backbone"):
        backbone = _build_body(name, channels, image_size, pretrained)
    backbone.add_neck(neck, features, seed)
    return backbone


def _build_body(name: str, channels: int, image_size: int, pretrained: bool) -> Backbone:
    library, colon, bare = name.partition(":")
    if name == IDENTITY and not pretrained:
        return Backbone(name, nn.Flatten(), channels * image_size**2, nonnegative=False)
    if name in NAMES:
        if pretrained:
            raise RequestError(
                f"backbone {name!r} has no pretrained weights; "
                "use a timm or torchvision name, e.g. timm:resnet18"
            )
        maker, features = _BUILT_IN[name]
        return Backbone(name, maker(channels, image_size), features, nonnegative=True)
    if library == "torchvision" and bare in external.torchvision_names():
        return external.build_torchvision(bare, channels, image_size, pretrained)
    if library == "timm" and external.is_timm_name(bare):
        return external.build_timm(bare, channels, image_size, pretrained)
    if not colon and _timm_has(name):
        backbone = external.build_timm(name, channels, image_size, pretrained)
        backbone.name = name
        return backbone
    raise RequestError(_unknown(name))


def _timm_has(name: str) -> bool:
    try:
        return external.is_timm_name(name)
    except MissingExtraError:
        return False


def _timm_names_if_installed() -> list[str]:
    try:
        return external.timm_names()
    except MissingExtraError:
        return []


def _unknown(name: str) -> str:
    library, colon, bare = name.partition(":")
    if colon and library == "torchvision":
        known = external.torchvision_names()
    elif colon and library == "timm":
        known = external.timm_names()
    else:
        known = list(dict.fromkeys([*NAMES, *_timm_names_if_installed()]))
    prefix, wanted = (f"{library}:", bare) if colon else ("", name)
    close = difflib.get_close_matches(wanted.lower(), known, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(prefix + match for match in close)}?"
    return (
        f"backbone must be one of {', '.join(NAMES)}, a timm name or torchvision:NAME, "
        f"got {name!r}" + (f"; {hint}" if close else "")
    )
