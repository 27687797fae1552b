"""From a folder of photos to an ONNX file whose answers were checked, by the command line's words.

Needs: pip install "fixhead[lab,export]"
Run: python examples/photos_to_onnx.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from fixhead.cli import run

COLOURS = {"sky": (90, 140, 220), "grass": (80, 160, 70), "brick": (170, 80, 60)}


def make_photos(folder: Path) -> None:
    """Forty pictures of each class: a colour under noise, of different sizes."""
    draws = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(40):
            height, width = draws.integers(40, 60, size=2)
            pixels = np.array(colour) + draws.normal(0, 60, size=(height, width, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / name / f"{number}.jpg")


def fixhead(*words: str) -> None:
    print("$ fixhead", *words, flush=True)
    status = run(list(words))
    assert status == 0, status


def main() -> None:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_photos(Path("photos"))
        kept = ["--image-size", "32", "--epochs", "3", "--device", "cpu"]
        fixhead("train", "--data", "photos", *kept, "--out", "run")
        fixhead("predict", "run", "photos/sky/0.jpg")
        fixhead("export", "run", "--to", "onnx", "--out", "model.onnx")
        fixhead("predict", "model.onnx", "photos/sky/0.jpg")
        os.chdir(before)


if __name__ == "__main__":
    main()
