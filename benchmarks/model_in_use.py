"""What a trained model costs in use: opening its folder, answering pictures, and its ONNX file.

A ResNet-18 with a simplex head for CIFAR-size JPEGs; its weights are those it starts from, which
cost what trained ones do. In processor seconds (all threads together), which other programs on the
machine change little, and in seconds by the clock; of several interleaved rounds the smallest.

    load      fixhead.load(FOLDER) in a new process, after its imports
    predict   predict_files over the JPEGs, against decoding them and the bare forward pass
    onnx      the exported file in onnxruntime, against the model in eager mode, on decoded pictures

Run: python benchmarks/model_in_use.py --data-dir DIR [--images 10000]

DIR holds cifar10_jpeg. About a minute for each 400 images on one free core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch

import fixhead
import records
from fixhead.backbones import build
from fixhead.data.images import decode
from fixhead.evaluation.exported import OnnxModel, export
from fixhead.evaluation.predict import predict_files
from fixhead.training import build_classifier, save_model

CLASSES = [f"class {number}" for number in range(10)]
BATCH = 64
LOAD = """
import json, sys, time
import fixhead, fixhead.evaluation.predict
start = time.perf_counter(), time.process_time()
fixhead.load(sys.argv[1])
print(json.dumps([time.perf_counter() - start[0], time.process_time() - start[1]]))
"""
Costs = dict[str, float]


def model_folder(folder: Path) -> Path:
    network = build("resnet18", channels=3, image_size=32, seed=0)
    model = build_classifier(network, "simplex", len(CLASSES), counts=None, seed=0).eval()
    facts = {
        "backbone": "resnet18", "channels": 3, "image_size": 32, "features": None, "neck": "none",
        "head": "simplex", "classes": CLASSES, "seed": 0, "data": "none",
        "mean": [0.49, 0.48, 0.45], "std": [0.25, 0.24, 0.26],
    }  # fmt: skip
    save_model(folder, model, facts)
    return folder


def pictures(data_dir: Path, number: int, folder: Path) -> list[Path]:
    """The first JPEGs of the test part, a file each."""
    [table] = (data_dir / "cifar10_jpeg").glob("test-*.parquet")
    rows = pyarrow.parquet.read_table(table)
    column = next(name for name in ("img", "image") if name in rows.column_names)
    files = []
    for place, one in enumerate(rows.column(column).slice(0, number).to_pylist()):
        files.append(folder / f"{place:05}.jpg")
        files[-1].write_bytes(one["bytes"])
    return files


def cost(work: Callable[[], Any]) -> Costs:
    wall, own = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - own,
    }


def interleaved(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Costs]:
    """The smallest of each, of rounds in turn."""
    found: dict[str, list[Costs]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(cost(work))
    return {
        name: {key: min(one[key] for one in own) for key in own[0]} for name, own in found.items()
    }


def row(name: str, ours: Costs, other: Costs, images: int) -> dict[str, Any]:
    ratios = {key: round(ours[key] / other[key], 4) for key in ours}
    print(f"{name}: {ratios['processor_seconds']:.3f} of the processor seconds", file=sys.stderr)
    return {"part": name, "images": images, "ours": ours, "other": other, "ratio": ratios}


@torch.no_grad()
def measure(data_dir: Path, images: int, rounds: int, work: Path) -> list[dict[str, Any]]:
    folder = model_folder(work / "model")
    loads = [
        json.loads(subprocess.check_output([sys.executable, "-c", LOAD, str(folder)], text=True))
        for _ in range(3)
    ]
    opened = {"seconds": min(one[0] for one in loads)}
    opened["processor_seconds"] = min(one[1] for one in loads)
    print(f"load: {opened}", file=sys.stderr)
    files, model = pictures(data_dir, images, work), fixhead.load(folder)

    def decoded() -> torch.Tensor:
        how = {"channels": 3, "image_size": 32}
        return torch.stack([torch.from_numpy(decode(one, str(one), **how)) for one in files])

    pixels = decoded()

    def forward() -> None:
        for part in pixels.split(BATCH):
            model(part)

    def predict() -> None:
        unreadable: list[str] = []
        assert len(list(predict_files(model, files, unreadable))) == len(files) - len(unreadable)

    found = interleaved({"predict": predict, "decode": decoded, "forward": forward}, rounds)
    both = {key: found["decode"][key] + found["forward"][key] for key in found["decode"]}
    exported = folder / "model.onnx"
    export(model, "onnx", exported, [pixels[:BATCH]])
    session = OnnxModel(exported)

    def run() -> None:
        for part in pixels.split(BATCH):
            session.answer(part)

    def eager() -> None:
        for part in pixels.split(BATCH):
            model.answer(part)

    apart = interleaved({"onnx": run, "eager": eager}, rounds)
    return [
        {"part": "load", "ours": opened},
        row("predict", found["predict"], both, images),
        row("onnx", apart["onnx"], apart["eager"], images),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as work:
        rows = measure(chosen.data_dir, chosen.images, chosen.rounds, Path(work))
    print(records.write("model_in_use", rows, threads=chosen.threads, rounds=chosen.rounds))


if __name__ == "__main__":
    main()
