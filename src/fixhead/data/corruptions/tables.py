"""The published strengths: five severities of each corruption, for images of 32, 64 and 224 pixels.

They differ by image size: severity 3 of one table is not severity 3 of another.

Source: Hendrycks & Dietterich 2019, and their code for CIFAR-10-C (32), Tiny-ImageNet-C (64) and
ImageNet-C (224).
"""

from __future__ import annotations

import numpy as np

from ..._errors import RequestError

Strength = tuple[float, ...]
TABLES = (32, 64, 224)


def _steps(stop: float, step: float = 0.01) -> Strength:
    """``np.arange(1, stop, step)``, whose rounding lets ``stop`` itself in here and there."""
    return tuple(np.arange(1, stop, step).tolist())


_ZOOM_SMALL = tuple(_steps(stop) for stop in (1.06, 1.11, 1.16, 1.21, 1.26))

STRENGTHS: dict[str, dict[int, tuple[Strength, ...]]] = {
    # standard deviation
    "gaussian-noise": {
        32: ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
        64: ((0.04,), (0.08,), (0.12,), (0.15,), (0.18,)),
        224: ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
    },
    # photons at full brightness
    "shot-noise": {
        32: ((500,), (250,), (100,), (75,), (50,)),
        64: ((250,), (100,), (50,), (30,), (15,)),
        224: ((60,), (25,), (12,), (5,), (3,)),
    },
    # share of the values that turn black or white
    "impulse-noise": {
        32: ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
        64: ((0.01,), (0.02,), (0.05,), (0.08,), (0.14,)),
        224: ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
    },
    # radius of the disk, smoothing of its edge
    "defocus-blur": {
        32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        64: ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        224: ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    },
    # blur, largest step of a pixel, rounds
    "glass-blur": {
        32: ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        64: ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        224: ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    },
    # radius, sigma
    "motion-blur": {
        32: ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        64: ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        224: ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    },
    # the factors that are averaged
    "zoom-blur": {
        32: _ZOOM_SMALL,
        64: _ZOOM_SMALL,
        224: (
            _steps(1.11),
            _steps(1.16),
            _steps(1.21, 0.02),
            _steps(1.26, 0.02),
            _steps(1.31, 0.03),
        ),
    },
    # mean, deviation, zoom, threshold, blur radius, blur sigma, share of the picture
    "snow": {
        32: (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        64: (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        224: (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    },
    # share of the picture, share of the frost, size of the frost pictures
    "frost": {
        32: ((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
        64: ((1, 0.3, 0.3), (0.9, 0.4, 0.3), (0.8, 0.45, 0.3), (0.75, 0.5, 0.3), (0.7, 0.55, 0.3)),
        224: ((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
    },
    # thickness, decay of its roughness
    "fog": {
        32: ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        64: ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        224: ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    },
    # what is added to the value of HSV
    "brightness": {
        32: ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
        64: ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
        224: ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    },
    # what is left of the distance to the mean
    "contrast": {
        32: ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
        64: ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
        224: ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    },
    # size of the displacement, its smoothness, size of the affine part; in pixels
    "elastic": {
        32: (
            (0, 0, 32 * 0.08),
            (32 * 0.05, 32 * 0.2, 32 * 0.07),
            (32 * 0.08, 32 * 0.06, 32 * 0.06),
            (32 * 0.1, 32 * 0.04, 32 * 0.05),
            (32 * 0.1, 32 * 0.03, 32 * 0.03),
        ),
        64: (
            (0, 0, 64 * 0.08),
            (64 * 0.05, 64 * 0.3, 64 * 0.06),
            (64 * 0.1, 64 * 0.08, 64 * 0.06),
            (64 * 0.1, 64 * 0.03, 64 * 0.03),
            (64 * 0.16, 64 * 0.03, 64 * 0.02),
        ),
        224: (  # the published code has 244 here, and says so
            (244 * 2, 244 * 0.7, 244 * 0.1),
            (244 * 2, 244 * 0.08, 244 * 0.2),
            (244 * 0.05, 244 * 0.01, 244 * 0.02),
            (244 * 0.07, 244 * 0.01, 244 * 0.02),
            (244 * 0.12, 244 * 0.01, 244 * 0.02),
        ),
    },
    # side after shrinking
    "pixelate": {
        32: ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
        64: ((0.9,), (0.8,), (0.7,), (0.6,), (0.5,)),
        224: ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    },
    # quality
    "jpeg": {
        32: ((80,), (65,), (58,), (50,), (40,)),
        64: ((65,), (58,), (50,), (40,), (25,)),
        224: ((25,), (18,), (15,), (10,), (7,)),
    },
}

KINDS = tuple(STRENGTHS)
PAPER = ("impulse-noise", "jpeg", "defocus-blur")
"""The three of Shalev et al. 2020 (who call the first one salt-and-pepper)."""

ALIASES = {
    "salt-and-pepper": "impulse-noise",
    "impulse": "impulse-noise",
    "defocus": "defocus-blur",
    "jpeg-compression": "jpeg",
    "elastic-transform": "elastic",
}


def kind_named(name: str) -> str:
    """The corruption that a person means: ``jpeg_compression`` and ``jpeg-compression`` are jpeg.

    Raises:
        RequestError: an unknown name.
    """
    plain = name.replace("_", "-").lower()
    kind = ALIASES.get(plain, plain)
    if kind not in STRENGTHS:
        raise RequestError(f"corruption needs one of {', '.join(KINDS)}, got {name!r}")
    return kind


def table_for(image_size: int) -> int:
    """The table of the nearest published image size on a ratio scale: 32, 64 or 224."""
    return min(TABLES, key=lambda table: max(table / image_size, image_size / table))


def strength(kind: str, severity: int, table: int) -> Strength:
    """The parameters of a corruption at severity 1 to 5.

    Raises:
        RequestError: another severity or table.
    """
    if severity not in range(1, 6):
        raise RequestError(f"severity needs a whole number from 1 to 5, got {severity}")
    if table not in TABLES:
        raise RequestError(f"table needs one of 32, 64, 224, got {table}")
    return STRENGTHS[kind][table][severity - 1]
