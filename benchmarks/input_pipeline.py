"""How fast images reach the training loop, against torchvision's DataLoader, and at what memory.

1. CIFAR-size images per second (crop + flip + normalise, batches of 128), in interleaved rounds:
   ours with the set in memory, ours from a memory-mapped file, torchvision's transforms in a
   DataLoader with 2 workers.
2. Decoding Tiny ImageNet into the cache, and the second start (with --data-dir).
3. Peak memory of an epoch over WebDataset shards of 6,000 and of 24,000 images, streamed: both
   larger than what is held in memory (256 MiB), so that each image is decoded when its turn comes.

Run: python benchmarks/input_pipeline.py --data-dir DIR       (about 6 minutes on 2 cores)
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import records
from fixhead._torchvision import import_torchvision
from fixhead.bench import timing
from fixhead.data import Batches, Split, augmentation
from fixhead.data import batches as batching

NUMBER, BATCH = 50_000, 128
SIDE = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Pictures(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """The same images one at a time, as torchvision's CIFAR10 hands them out."""

    def __init__(self, split: Split, transform: Any) -> None:
        self.images = np.ascontiguousarray(np.asarray(split.images).transpose(0, 2, 3, 1))
        self.labels = split.labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def made(number: int, folder: Path) -> tuple[Split, Split]:
    """Random CIFAR-size images in memory, and the same behind a memory map."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (number, 3, 32, 32), dtype=np.uint8)
    labels = generator.integers(0, 10, number)
    np.save(folder / "images.npy", images)
    return Split(images, labels), Split(np.load(folder / "images.npy", mmap_mode="r"), labels)


def ours(split: Split) -> Batches:
    words = augmentation("crop:4,flip")
    return Batches(
        split, BATCH, device="cpu", mean=MEAN, std=STD, augmentation=words, seed=0, shuffle=True
    )


def theirs(split: Split) -> Iterable[Any]:
    import_torchvision()
    from torchvision import transforms

    steps = [
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    data = Pictures(split, transforms.Compose(steps))
    return torch.utils.data.DataLoader(
        data, BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )


def exhaust(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def throughput(number: int, rounds: int, folder: Path) -> list[dict[str, Any]]:
    in_memory, on_disk = made(number, folder)
    resident = ours(in_memory)
    limits, batching.RESIDENT_BYTES = batching.RESIDENT_BYTES, {"cpu": 0}
    mapped = ours(on_disk)
    batching.RESIDENT_BYTES = limits
    loader = theirs(in_memory)
    samples = timing.interleaved(
        {
            "fixhead, in memory": lambda: exhaust(resident.epoch(0)),
            "fixhead, memory-mapped": lambda: exhaust(mapped.epoch(0)),
            "torchvision DataLoader, 2 workers": lambda: exhaust(loader),
        },
        rounds=rounds,
    )
    slowest = samples["torchvision DataLoader, 2 workers"]
    return [
        {
            "what": name,
            "images": number,
            "images_per_second": round(number / (timing.spread(times)["median_ms"] / 1e3)),
            "times_the_dataloader": round(
                1 / timing.spread(times, slowest).get("ratio_median", 1.0), 2
            ),
            **timing.spread(times),
        }
        for name, times in samples.items()
    ]


def decoding(data_dir: Path, folder: Path) -> list[dict[str, Any]]:
    """Tiny ImageNet: into an empty cache, then a second start, each in a process of its own."""
    code = (
        "import time, pathlib; start = time.perf_counter();"
        "from fixhead.data import load, Batches; ready = time.perf_counter();"
        f"d = load('tiny-imagenet', data_dir=pathlib.Path({str(data_dir)!r}),"
        f" cache_dir=pathlib.Path({str(folder)!r}));"
        "b = Batches(d.train, 128, device='cpu', mean=d.mean, std=d.std, seed=0, shuffle=True);"
        "next(b.epoch(0)); print(ready - start, time.perf_counter() - ready)"
    )
    rows: list[dict[str, Any]] = []
    for what in ("first start, decoding 110,000 JPEGs", "second start"):
        said = subprocess.check_output([sys.executable, "-c", code], text=True)
        imports, rest = map(float, said.split())
        rows.append(
            {
                "what": f"Tiny ImageNet, {what}: until the first batch",
                "seconds": round(imports + rest, 3),
                "of_which_imports": round(imports, 3),
            }
        )
    first = rows[0]
    first["images_per_second"] = round(110_000 / (first["seconds"] - first["of_which_imports"]))
    return rows


def memory(numbers: tuple[int, ...], folder: Path) -> list[dict[str, Any]]:
    """Peak memory of a process that streams one epoch through a small convolution."""
    rows = []
    for number in numbers:
        shards(number, folder / str(number))
        code = (
            "import torch; from fixhead.data import load, Batches;"
            "from fixhead.runs.machine import peak_memory_bytes;"
            f"d = load({str(folder / str(number))!r}, image_size={SIDE});"
            "b = Batches(d.train, 128, device='cpu', mean=d.mean, std=d.std, seed=0, shuffle=True);"
            "m = torch.nn.Conv2d(3, 8, 3);"
            "[m(x).mean().backward() for x, y in b.epoch(0)];"
            "print(peak_memory_bytes(torch.device('cpu')))"
        )
        start = time.perf_counter()
        peak = int(subprocess.check_output([sys.executable, "-c", code], text=True))
        rows.append(
            {
                "what": f"streamed epoch over {number} images of {SIDE}x{SIDE} in shards",
                "peak_mib": round(peak / 2**20, 1),
                "decoded_mib": round(number * 3 * SIDE**2 / 2**20, 1),
                "seconds": round(time.perf_counter() - start, 2),
            }
        )
    return rows


def shards(number: int, folder: Path) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, count in (("train", number), ("test", 10)):
        with tarfile.open(folder / f"{part}-000000.tar", "w") as archive:
            for place in range(count):
                picture = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(picture).resize((64, 64)).save(buffer, "JPEG", quality=90)
                for suffix, content in (("jpg", buffer.getvalue()), ("cls", b"%d" % (place % 10))):
                    member = tarfile.TarInfo(f"{place:06d}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes, not saved")
    parser.add_argument("--data-dir", type=Path, help="holds tiny_imagenet or tiny-imagenet-200")
    chosen = parser.parse_args()
    torch.set_num_threads(2)
    number = 5_000 if chosen.quick else NUMBER
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = throughput(number, 2 if chosen.quick else chosen.rounds, folder)
        if chosen.data_dir is not None and not chosen.quick:
            rows += decoding(chosen.data_dir.resolve(), folder / "cache")
        rows += memory((200, 1_000) if chosen.quick else (6_000, 24_000), folder)
    for row in rows:
        print(json.dumps(row))
    if not chosen.quick:
        print(records.write("input_pipeline", rows))


if __name__ == "__main__":
    main()
