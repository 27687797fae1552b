"""ONNX: a model with a fixed cosine head, exported and run in onnxruntime, gives the same logits.

Needs: pip install onnx onnxscript onnxruntime
Run: python examples/onnx_export.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime
import torch
from digits import SmallNet, digits

from fixhead.heads.swap import swap_head


def main() -> float:
    torch.manual_seed(0)
    _, (images, _) = digits()
    model = SmallNet().eval()
    swap_head(model, "random-cosine@20")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        batch = torch.export.Dim("batch", min=1)
        torch.onnx.export(
            model, (images[:2],), path, input_names=["images"], output_names=["logits"],
            dynamic_shapes={"images": {0: batch}}, dynamo=True, external_data=False,
            verbose=False,
        )  # fmt: skip
        session = onnxruntime.InferenceSession(path.read_bytes())
        [logits] = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        difference = float((torch.from_numpy(logits) - model(images)).abs().max())
    assert difference < 1e-4, difference
    print(f"largest difference between onnxruntime and PyTorch: {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
