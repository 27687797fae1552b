"""When a card is lent for some minutes: what to run on it, in order of worth.

Each step is a process of its own with a time limit, and carries on where it was stopped: start the
script again with the same --out, on another day or another card, and it repeats nothing that is
done. Nothing is downloaded.

Where the data are:
    python benchmarks/on_a_card.py --pack PARTS --data-dir DATA [--wheels DIR] [--tiny-imagenet]
Where the card is, with the parts beside it:
    python benchmarks/on_a_card.py --unpack PARTS --data-dir DATA
    pip install --no-index --find-links DATA/wheels pyarrow     (and what else is missing)
    python benchmarks/on_a_card.py --seconds 780 --data-dir DATA --out TRIP
Before that, anywhere:
    python benchmarks/on_a_card.py --dry-run        the order, and about how long each step takes
    python benchmarks/on_a_card.py --rehearse --seconds 600 --out TRIP     tiny sizes, on the CPU
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import records
from fixhead._files import replace_text
from fixhead.comparison import Comparison, compare
from fixhead.papers.hoffer2018 import recipe as hoffer
from fixhead.papers.recipe import JPEG_COPY, PaperRecipe, PaperRequest
from fixhead.papers.registry import build, find
from fixhead.papers.shalev2020 import recipe as shalev
from fixhead.runs.records import read

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "results" / "papers"
STATE = "steps.json"
PACE = "pace.json"

PART_BYTES = 60 * 2**20
"""The largest part of what is carried; the machine that lends the card may take no more at once."""
PACKED = ("cifar10_jpeg", "MNIST")
TINY_IMAGENET = "tiny_imagenet"

IMAGES = {JPEG_COPY: 45_000, "tiny-imagenet": 90_000, "all of cifar10-jpeg": 50_000}
"""Training images of an epoch; a tenth is held out where validation chooses the epoch."""
START_S = 20.0
"""A step's start: Python, the data, and the compiler's first minute of a backbone."""
LARGE_BATCH = 1_024
"""The batch of the recorded pace."""
BATCHES = (32, 128, 256, LARGE_BATCH)
"""The paper's batch first; the smallest one whose runs fit into the time is taken."""
SHARE_OF_TIME = 0.6
"""Of the time that is left, the tables of Shalev et al. may take so much."""


@dataclass(frozen=True)
class Trip:
    """What a run of this script is: where its data and results lie, and whether it rehearses."""

    out: Path
    data_dir: Path | None = None
    rehearse: bool = False

    @property
    def device(self) -> str:
        return "cpu" if self.rehearse else "cuda"

    @property
    def batch_size(self) -> int:
        """What ``pace`` chose; the recorded pace's batch before it has run."""
        path = self.out / PACE
        if not path.exists():
            return LARGE_BATCH
        return int(json.loads(path.read_text(encoding="utf-8"))["batch_size"])

    @property
    def processes(self) -> int:
        """How many runs at once were faster in sum."""
        path = self.out / PACE
        if not path.exists():
            return 1
        return int(json.loads(path.read_text(encoding="utf-8"))["processes"])


@dataclass(frozen=True)
class CardStep:
    """One step: the command it runs, about how long it takes, and the longest it may."""

    name: str
    title: str
    command: Callable[[Trip], list[str]]
    seconds: float
    limit_s: float | None = None


# --- the pace that estimates are made of ----------------------------------------------------------


@cache
def images_per_second() -> float:
    """Of ResNet-18 in bfloat16 with augmentation, by the committed record."""
    rows = records.newest("training_throughput_cuda_*.json")["rows"]
    return min(row["images_per_second"] for row in rows if row["loop"] == "fixhead")


def training_seconds(epochs: int, images: int, runs: int) -> float:
    """At the pace of ResNet-18, which is said of other networks too: none of them was timed."""
    return START_S + runs * epochs * images / images_per_second()


@cache
def paper_seconds(paper: str, item: str, scale: str, seeds: int | None, cells: str) -> float:
    """Of the cells that have no committed record yet, at the mean of those that have one."""
    request = PaperRequest(scale, seeds=seeds)  # type: ignore[arg-type]
    wanted = [one.name for one in build(find(paper, item), request).cells if cells in one.name]
    rows = [
        row
        for row in read(COMMITTED / f"{paper}-{scale}" / "runs.jsonl")
        if row.get("train_seconds") is not None
    ]
    done = {row["cell"] for row in rows}
    mean = sum(row["train_seconds"] for row in rows) / len(rows)
    return START_S + mean * len([name for name in wanted if name not in done])


# --- the steps ------------------------------------------------------------------------------------


def own_step(name: str) -> Callable[[Trip], list[str]]:
    """A step that is a function of this file, in a process of its own."""

    def command(trip: Trip) -> list[str]:
        data = [] if trip.data_dir is None else ["--data-dir", str(trip.data_dir)]
        tiny = ["--rehearse"] if trip.rehearse else []
        return [sys.executable, __file__, "--step", name, "--out", str(trip.out), *data, *tiny]

    return command


def paper_step(
    paper: str, item: str, scale: str, *, cells: str = "", seeds: int | None = None
) -> Callable[[Trip], list[str]]:
    """``fixhead paper``, beginning with the committed records; in a rehearsal one on digits."""

    def command(trip: Trip) -> list[str]:
        asked = [paper, item, "--scale", scale]
        asked += ["--cells", cells] if cells else []
        asked += [] if seeds is None else ["--seeds", str(seeds)]
        if trip.rehearse:
            asked = ["hoffer2018", "table1", "--scale", "small", "--cells", "digits-"]
            asked += ["--epochs", "1", "--seeds", "1"]
        else:
            begin_with_committed(trip.out / "papers", f"{paper}-{scale}")
        data = [] if trip.data_dir is None else ["--data-dir", str(trip.data_dir)]
        return [
            *(sys.executable, "-m", "fixhead", "paper", *asked, *data),
            *("--device", trip.device, "--out", str(trip.out / "papers"), "--no-keep-models"),
            *("--processes", str(trip.processes)),
        ]

    return command


def begin_with_committed(folder: Path, name: str) -> None:
    """Copy a paper's committed records, so that only what is missing runs."""
    for file in ("runs.jsonl", "measures.jsonl"):
        source, target = COMMITTED / name / file, folder / name / file
        if source.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_text(target, source.read_text(encoding="utf-8"))


def cuda_tests(trip: Trip) -> list[str]:
    files = ["tests/many_classes/test_cuda.py", "tests/many_classes/test_half.py"]
    chosen = ["tests/many_classes/test_cuda.py"] if trip.rehearse else [*files, "tests/bench"]
    log = f"--junit-xml={(trip.out / 'cuda-tests.xml').resolve()}"
    return [sys.executable, "-m", "pytest", "-p", "no:benchmark", "-q", log, *chosen]


def walk(trip: Trip) -> list[str]:
    tiny = ["--device", "cpu", "--tiny", "--rounds", "1"] if trip.rehearse else []
    script = str(ROOT / "benchmarks" / "many_classes_cuda.py")
    cells = ["--cells", "short", "--seconds", "5" if trip.rehearse else "55"]
    return [sys.executable, script, *cells, "--out", str(trip.out / "records"), *tiny]


SHALEV_EPOCHS = shalev.FULL.config.recipe.epochs
HOFFER_EPOCHS = hoffer.CIFAR.config.recipe.epochs
SWEEP_RATES, SWEEP_EPOCHS = (0.1, 1.0, 10.0), 10


def steps() -> list[CardStep]:
    """Everything, in order of worth."""
    cifar, tiny = IMAGES[JPEG_COPY], IMAGES["tiny-imagenet"]

    def pairs(images: int, runs: int = 6) -> float:
        return training_seconds(SHALEV_EPOCHS, images, runs)

    return [
        CardStep("cuda-tests", "CUDA tests that have never run on a card", cuda_tests, 60, 60),
        CardStep("walk", "The walk over classes, against plain and rivals", walk, 60, 75),
        CardStep("pace", "The paper's batch size for one epoch; two runs at once", own_step("pace"),
                 training_seconds(1, cifar, 8), 120),
        CardStep("table2", "Shalev Table 2: cosine at S = 1, fixed and learned, 3 + 3 seeds",
                 own_step("table2"), pairs(cifar)),
        CardStep("table1", "Shalev Table 1: dot product, fixed and learned, 3 + 3 seeds, two rates",
                 own_step("table1"), pairs(cifar, 10)),
        CardStep("scale-20", "Shalev Table 3: what is missing of S = 20",
                 paper_step("shalev2020", "table3", "medium", cells=JPEG_COPY),
                 paper_seconds("shalev2020", "table3", "medium", None, JPEG_COPY)),
        CardStep("tiny-imagenet", "Tiny ImageNet at 32 pixels, S = 1, 3 + 3 seeds",
                 own_step("tiny-imagenet"), pairs(tiny)),
        CardStep("preact-resnet18", "PreActResNet-18, S = 1, 3 + 3 seeds",
                 own_step("preact-resnet18"), pairs(cifar)),
        CardStep("mobilenetv2", "MobileNetV2, S = 1, 3 + 3 seeds", own_step("mobilenetv2"),
                 pairs(cifar)),
        CardStep("sweep", "Learning rates 0.1, 1 and 10, where a run may diverge",
                 own_step("sweep"), training_seconds(SWEEP_EPOCHS, cifar, 2 * len(SWEEP_RATES))),
        CardStep("yang", "Yang: what is missing of the long tail, frozen ETF with CE among it",
                 paper_step("yang2022", "long-tail", "medium"),
                 paper_seconds("yang2022", "long-tail", "medium", None, "")),
        CardStep("hoffer", "Hoffer: ResNet-56, learned, orthonormal, Hadamard, 3 seeds each",
                 own_step("hoffer"),
                 training_seconds(HOFFER_EPOCHS, IMAGES["all of cifar10-jpeg"], 9)),
        CardStep("delacalle", "De la Calle: all arms at the paper's scale, ten seeds each",
                 paper_step("delacalle2019", "variability", "full", seeds=10),
                 paper_seconds("delacalle2019", "variability", "full", 10, "")),
    ]  # fmt: skip


# --- the steps that are trainings of our own ------------------------------------------------------


def comparisons(name: str, trip: Trip) -> Iterator[tuple[str, Comparison]]:
    """Folder name and comparison of a step; a rehearsal is one epoch of digits with its heads."""
    for folder, recipe, settings in _asked(name, trip.batch_size):
        data = None if trip.data_dir is None else str(trip.data_dir)
        shared = {"seeds": 3, "data_dir": data, "device": trip.device}
        comparison = replace(recipe.config, **(shared | settings))
        yield folder, tiny(comparison) if trip.rehearse else comparison


def _asked(name: str, batch_size: int) -> Iterator[tuple[str, PaperRecipe, dict[str, Any]]]:
    card: dict[str, Any] = {"precision": "bf16-mixed", "compile": True}
    pair = {"heads": ("random-cosine@1", "learned-cosine@1")}
    if name == "hoffer":
        recipe = hoffer.full(JPEG_COPY, "resnet56").changed(**card)
        yield name, recipe, {"heads": tuple(hoffer.ARMS.values())}
        return
    data, net = JPEG_COPY, name if name in ("preact-resnet18", "mobilenetv2") else "resnet18"
    if name == "tiny-imagenet":
        data, card = name, card | {"image_size": 32, "augmentation": "crop:4,flip"}
    recipe = shalev.full(data, net).changed(batch_size=batch_size, **card)
    if name == "table1":
        rates = shalev.RATES["medium"]
        yield name, recipe, {"heads": tuple(shalev.DOT.values()), "tune": rates}
    elif name == "sweep":
        for rate in SWEEP_RATES:
            short = recipe.with_epochs(SWEEP_EPOCHS).changed(lr=rate)
            yield f"sweep-lr{rate:g}", short, {"heads": tuple(shalev.DOT.values()), "seeds": 1}
    else:
        yield name, recipe.changed(weight_decay=0.0), pair


def tiny(comparison: Comparison) -> Comparison:
    training = replace(
        comparison.recipe, epochs=1, batch_size=64, milestones=(), warmup_epochs=0.0,
        precision="32-true", compile=False,
    )  # fmt: skip
    return replace(
        comparison, data="digits", data_dir=None, image_size=None, backbone="small-cnn", seeds=1,
        augmentation="none", train_images=200, recipe=training,
    )  # fmt: skip


def train_all(name: str, trip: Trip) -> None:
    """Every comparison of a step; what is done of it is not repeated."""
    for folder, comparison in comparisons(name, trip):
        compare(comparison, trip.out / folder)


def measure_pace(trip: Trip) -> None:
    """Seconds of one epoch by batch size, and of two at once; what the tables then use.

    The smallest batch is taken whose six runs of Table 2 fit into the time that is left, as
    ``ON_A_CARD_SECONDS_LEFT`` gives it. The papers' steps take two runs at once where they are
    faster in sum. A measurement that is cut leaves the recorded pace's batch, for good: the tables
    may have begun with it.
    """
    if (trip.out / PACE).exists():
        return
    replace_text(trip.out / PACE, json.dumps({"batch_size": LARGE_BATCH, "processes": 1}) + "\n")
    left = float(os.environ.get("ON_A_CARD_SECONDS_LEFT", "inf"))
    seconds: dict[int, float] = {}
    for size in BATCHES[-1:] if trip.rehearse else reversed(BATCHES):
        seconds[size] = epoch_seconds(trip, size)
        if 6 * SHALEV_EPOCHS * seconds[size] > SHARE_OF_TIME * left:
            break  # a smaller batch is slower still
    fitting = [
        size for size, one in seconds.items() if 6 * SHALEV_EPOCHS * one <= SHARE_OF_TIME * left
    ]
    chosen = min(fitting, default=LARGE_BATCH)
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: one_epoch(trip, chosen, f"pace-both-{number}"), range(2)))
    both = time.perf_counter() - start
    start = time.perf_counter()
    one_epoch(trip, chosen, "pace-alone")
    alone = time.perf_counter() - start
    facts = {
        "batch_size": chosen,
        "paper_batch_size": shalev.FULL.config.recipe.batch_size,
        "epoch_seconds": {str(size): round(one, 3) for size, one in seconds.items()},
        "one_run_s": round(alone, 2),
        "two_at_once_s": round(both, 2),
        "processes": 2 if both < 2 * alone else 1,
    }
    replace_text(trip.out / PACE, json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts))


def epoch_seconds(trip: Trip, batch_size: int) -> float:
    """Of the second epoch, by the run's own history: the first compiles and warms up."""
    folder = one_epoch(trip, batch_size, f"pace-batch{batch_size}")
    history = next((folder / "runs").glob("*/history.jsonl"))
    return float(read(history)[-1]["seconds"])


def one_epoch(trip: Trip, batch_size: int, name: str) -> Path:
    """Two epochs of the fixed arm in a process of its own."""
    command = own_step(f"{name}:{batch_size}")(trip)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return trip.out / name


def train_for_pace(name: str, batch_size: int, trip: Trip) -> None:
    _, comparison = next(comparisons("table2", trip))
    training = replace(comparison.recipe, epochs=2, batch_size=batch_size)
    compare(
        replace(comparison, heads=comparison.heads[:1], seeds=1, recipe=training), trip.out / name
    )


# --- running them ---------------------------------------------------------------------------------


def run_steps(trip: Trip, chosen: list[CardStep], seconds: float) -> dict[str, Any]:
    """Run what is not done, in order, within ``seconds``; the state of every step.

    The state is written after each, with how it ended: ``done``, ``cut`` (its limit, or the time,
    ran out; it goes on the next time), ``failed`` (with its exit status), or ``waiting``.
    """
    end = time.monotonic() + seconds
    trip.out.mkdir(parents=True, exist_ok=True)
    path = trip.out / STATE
    states: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for step in chosen:
        left = end - time.monotonic()
        if states.get(step.name, {}).get("state") == "done":
            continue
        if left < 1:
            break
        limit = left if step.limit_s is None else min(left, step.limit_s)
        print(f"== {step.name}: {step.title} (at most {limit:.0f} s)", flush=True)
        start = time.monotonic()
        status = run_bounded(step.command(trip), limit, trip.out / f"{step.name}.log", left)
        spent = time.monotonic() - start + states.get(step.name, {}).get("seconds", 0.0)
        ended = {None: "cut", 0: "done"}.get(status, "failed")
        states[step.name] = {"state": ended, "seconds": round(spent, 1), "status": status}
        replace_text(path, json.dumps(states, indent=1) + "\n")
        print(f"   {ended} after {spent:.0f} s", flush=True)
    return {step.name: states.get(step.name, {"state": "waiting"}) for step in chosen}


def run_bounded(command: list[str], limit_s: float, log: Path, left_s: float) -> int | None:
    """The exit status, or None where the limit ended it; its output goes to ``log``."""
    environment = os.environ | {
        "ON_A_CARD_SECONDS_LEFT": str(left_s),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, env=environment, start_new_session=True
        )
        try:
            return process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # runs are made to survive a kill
                process.wait()


def plan(chosen: list[CardStep]) -> list[str]:
    """The table of the steps with their estimated seconds, as docs/gpu.md shows it."""
    lines = ["| step | what | about, s | in sum, s |", "|---|---|---|---|"]
    total = 0.0
    for step in chosen:
        total += step.seconds
        lines.append(f"| `{step.name}` | {step.title} | {step.seconds:,.0f} | {total:,.0f} |")
    return lines


# --- what is carried ------------------------------------------------------------------------------


def pack(target: Path, data_dir: Path, wheels: Path | None, with_tiny_imagenet: bool) -> list[Path]:
    """Data and wheels in numbered parts of at most ``PART_BYTES``, a trip each.

    CIFAR-10 (the JPEG copy) and MNIST fill the first part; Tiny ImageNet follows where wanted. The
    images travel as JPEG: as uint8 they would take ten times the room. The card's machine decodes
    them once.
    """
    target.mkdir(parents=True, exist_ok=True)
    archive = target / "all.tar"
    with tarfile.open(archive, "w") as tar:
        for name in (*PACKED, *([TINY_IMAGENET] if with_tiny_imagenet else [])):
            tar.add(data_dir / name, name)
        if wheels is not None:
            tar.add(wheels, "wheels")
    parts = []
    with archive.open("rb") as file:
        while block := file.read(PART_BYTES):
            parts.append(target / f"part-{len(parts):02}")
            parts[-1].write_bytes(block)
    archive.unlink()
    return parts


def unpack(source: Path, data_dir: Path) -> list[str]:
    """Join the parts and put back what was packed; the names at the top."""
    data_dir.mkdir(parents=True, exist_ok=True)
    archive = data_dir / "all.tar"
    with archive.open("wb") as file:
        for part in sorted(source.glob("part-*")):
            file.write(part.read_bytes())
    with tarfile.open(archive) as tar:
        tar.extractall(data_dir, filter="data")
    archive.unlink()
    return sorted(path.name for path in data_dir.iterdir())


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.pack is not None:
        for part in pack(options.pack, options.data_dir, options.wheels, options.tiny_imagenet):
            print(part, f"{part.stat().st_size / 2**20:.1f} MiB")
        return 0
    if options.unpack is not None:
        print(*unpack(options.unpack, options.data_dir))
        return 0
    trip = Trip(options.out, options.data_dir, options.rehearse)
    if options.step is not None:
        _run_own(options.step, trip)
        return 0
    chosen = [step for step in steps() if not options.only or step.name in options.only]
    if options.dry_run:
        print("\n".join(plan(chosen)))
        return 0
    states = run_steps(trip, chosen, options.seconds)
    left = [name for name, state in states.items() if state["state"] != "done"]
    print("all is done" if not left else f"left: {', '.join(left)}")
    return 0


def _run_own(name: str, trip: Trip) -> None:
    title, _, batch_size = name.partition(":")
    if batch_size:
        train_for_pace(title, int(batch_size), trip)
    elif name == "pace":
        measure_pace(trip)
    else:
        train_all(name, trip)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=780.0, help="end after this long")
    parser.add_argument("--out", type=Path, default=Path("trip"), help="keep everything here")
    parser.add_argument("--data-dir", type=Path, help=f"where {', '.join(PACKED)} lie")
    parser.add_argument("--only", nargs="*", default=[], help="run these steps only")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, run nothing")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--pack", type=Path, help="write the parts to carry into this folder")
    parser.add_argument("--unpack", type=Path, help="put the parts of this folder into --data-dir")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to pack too")
    parser.add_argument("--tiny-imagenet", action="store_true", help="pack Tiny ImageNet too")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
