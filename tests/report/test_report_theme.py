"""Colours, measured as they are seen: contrast with the ground, and apart for colour-blind eyes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from fixhead.report import render
from fixhead.report.tables import swatch

THEMES = {"light": (render.LIGHT, render.ARMS_LIGHT), "dark": (render.DARK, render.ARMS_DARK)}

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.3039],
        ]
    ),
}
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.793617785, -0.0040720468],
        [1.9779984951, -2.428592205, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.808675766],
    ]
)


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, two: str) -> float:
    """WCAG 2: (lighter + 0.05) / (darker + 0.05)."""
    light = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) + 0.05 for colour in (one, two))
    return light[1] / light[0]


def seen(colour: str, sight: str) -> np.ndarray:
    return TO_OKLAB @ np.cbrt(TO_LMS @ np.clip(SIGHT[sight] @ linear(colour), 0, 1))


def apart(colours: tuple[str, ...], sight: str) -> float:
    points = [seen(colour, sight) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(points, 2))


def test_black_on_white_has_the_contrast_that_the_standard_gives() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("name", THEMES)
def test_text_is_readable_on_every_ground(name: str) -> None:
    tokens, _ = THEMES[name]
    for ground in ("ground", "raised", "accent-ground"):
        for ink in ("ink", "soft", "accent"):
            assert contrast(tokens[ink], tokens[ground]) >= 4.5


@pytest.mark.parametrize("name", THEMES)
def test_marks_stand_out_from_the_ground(name: str) -> None:
    tokens, arms = THEMES[name]
    for colour in (*arms, tokens["strong-line"]):
        assert contrast(colour, tokens["ground"]) >= 3


@pytest.mark.parametrize("name", THEMES)
@pytest.mark.parametrize("sight", SIGHT)
def test_arms_differ_for_every_sight(name: str, sight: str) -> None:
    _, arms = THEMES[name]
    assert apart(arms[:6], sight) >= 0.12
    assert apart(arms, sight) >= 0.06


def test_twelve_arms_have_twelve_marks() -> None:
    looks = {(render.symbol(arm), render.dash(arm)) for arm in range(12)}
    assert len(looks) == 12
    assert len({swatch(arm) for arm in range(12)}) == 12


def test_both_themes_name_the_same_colours() -> None:
    assert render.LIGHT.keys() == render.DARK.keys()
    assert len(render.ARMS_LIGHT) == len(render.ARMS_DARK)
