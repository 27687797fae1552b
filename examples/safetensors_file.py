"""safetensors: save a model with a fixed head, load it, and see a changed file refused.

Run: python examples/safetensors_file.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from digits import SmallNet, digits
from safetensors.torch import load_file, save_file

from fixhead import RequestError
from fixhead.heads.swap import swap_head


def swapped(head: str) -> SmallNet:
    model = SmallNet().eval()
    swap_head(model, head)
    return model


def main() -> str:
    torch.manual_seed(0)
    _, (images, _) = digits()
    model = swapped("simplex")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(model.state_dict(), path)
        weights = load_file(path)
    again = swapped("simplex")
    again.load_state_dict(weights)
    with torch.no_grad():
        assert torch.equal(again(images), model(images))
    print("the same logits after loading")
    weights["fc.vectors"][0, 0] += 1
    try:
        swapped("simplex").load_state_dict(weights)
    except RequestError as refusal:
        print(f"refused: {refusal}")
        return str(refusal)
    raise AssertionError("a changed file was loaded")


if __name__ == "__main__":
    main()
