"""When a card is lent for some minutes: what to run on it, in order of worth.

Each step is a process of its own with a time limit, and carries on where it was stopped: start the
script again with the same --out, on another day or another card, and it repeats nothing that is
done. Nothing is downloaded there.

Where the data are (fetches the wheels that the card's machine may lack, or takes --wheels DIR):
    python benchmarks/on_a_card.py --pack PARTS --data-dir DATA [--tiny-imagenet]
Where the card is, with the parts beside it:
    python benchmarks/on_a_card.py --unpack PARTS --data-dir DATA
    pip install --no-index --no-deps DATA/wheels/*.whl
    python benchmarks/on_a_card.py --seconds 780 --data-dir DATA --out TRIP
Back again, with what lies in TRIP:
    python benchmarks/on_a_card.py --home TRIP      its records join results/papers, pages anew
Before that, anywhere:
    python benchmarks/on_a_card.py --dry-run        the order, and about how long each step takes
    python benchmarks/on_a_card.py --rehearse --seconds 1500 --out TRIP    tiny sizes, on the CPU
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import records
from fixhead._files import replace_text
from fixhead.comparison import Comparison, compare
from fixhead.papers.hoffer2018 import recipe as hoffer
from fixhead.papers.recipe import JPEG_COPY, PaperRequest, ScaleName
from fixhead.papers.registry import build, find
from fixhead.papers.run import RunOptions, perform
from fixhead.papers.shalev2020 import recipe as shalev
from fixhead.runs.layout import (
    HISTORY_FILE,
    MEASURES_FILE,
    RESULTS_FILE,
    RUN_FOLDERS,
    RUNS_FILE,
)
from fixhead.runs.records import Record, dumps, read

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "results" / "papers"
PAPERS = "papers"
STATE = "steps.json"
PACE = "pace.json"

PART_BYTES = 60 * 2**20
"""The largest part of what is carried; the machine that lends the card may take no more at once."""
PACKED = ("cifar10_jpeg", "MNIST")
TINY_IMAGENET = "tiny_imagenet"
WHEELS = ("pyarrow", "plotly", "liger-kernel", "cut-cross-entropy")
"""What a machine with torch, torchvision and timm may still lack, the rivals among it; the versions
are those here, where they are installed."""
CARD_PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")

IMAGES = {JPEG_COPY: 45_000, "tiny-imagenet": 90_000, "all of cifar10-jpeg": 50_000}
"""Training images of an epoch; a tenth is held out where validation chooses the epoch."""
START_S = 20.0
"""A step's start: Python, the data, and the compiler's first minute of a backbone."""
LARGE_BATCH = shalev.SCALES["long"].settings["batch_size"]
"""The batch of the recorded pace."""
BATCHES = (32, 128, 256, LARGE_BATCH)
"""The paper's batch first; the smallest one whose runs fit into the time is taken."""
PAIR_EPOCHS = 10
"""Epochs of two runs at once: enough for them to overlap although they start seconds apart."""
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
        return int(self._pace("batch_size", LARGE_BATCH))

    @property
    def processes(self) -> int:
        """How many runs at once were faster in sum."""
        return int(self._pace("processes", 1))

    def _pace(self, name: str, default: int) -> Any:
        path = self.out / PACE
        if not path.exists():
            return default
        return json.loads(path.read_text(encoding="utf-8"))[name]


@dataclass(frozen=True)
class Part:
    """Cells of a paper's item at a scale; ``any_batch`` ones take the batch that ``pace`` chose."""

    paper: str
    item: str
    scale: ScaleName
    cells: str = ""
    any_batch: bool = False

    def request(self, trip: Trip) -> PaperRequest:
        other = self.any_batch and trip.batch_size != LARGE_BATCH
        tiny = 1 if trip.rehearse else None
        return PaperRequest(
            self.scale, seeds=tiny, epochs=tiny, batch_size=trip.batch_size if other else None
        )

    def names(self, request: PaperRequest) -> list[str]:
        cells = build(find(self.paper, self.item), request).cells
        return [one.name for one in cells if self.cells in one.name]

    def command(self, trip: Trip) -> list[str]:
        """``fixhead paper``, beginning with the committed records; a rehearsal is one cell."""
        request = self.request(trip)
        asked = [self.paper, self.item, "--scale", self.scale]
        if trip.rehearse:
            asked += ["--seeds", "1", "--epochs", "1", "--cells", self.names(request)[0]]
        else:
            asked += ["--cells", self.cells] if self.cells else []
            begin_with_committed(trip.out / PAPERS, f"{self.paper}-{self.scale}")
        asked += [] if request.batch_size is None else ["--batch-size", str(request.batch_size)]
        data = [] if trip.data_dir is None else ["--data-dir", str(trip.data_dir)]
        return [
            *(sys.executable, "-m", "fixhead", "paper", *asked, *data),
            *("--device", trip.device, "--out", str(trip.out / PAPERS), "--no-keep-models"),
            *("--jobs", str(trip.processes)),
        ]

    def seconds(self, run_s: float | None = None) -> float:
        """Of the cells without a committed record: at ``run_s`` each, or the mean of the others."""
        rows = read(COMMITTED / f"{self.paper}-{self.scale}" / RUNS_FILE)
        done = {row["cell"]: row.get("train_seconds") for row in rows}
        known = [value for value in done.values() if value is not None]
        each = sum(known) / len(known) if run_s is None else run_s
        missing = [name for name in self.names(PaperRequest(self.scale)) if name not in done]
        return START_S + each * len(missing)


def begin_with_committed(folder: Path, name: str) -> None:
    """Copy a paper's committed records and histories, so that only what is missing runs."""
    store = COMMITTED / name
    if (folder / name / RUNS_FILE).exists():
        return
    histories = sorted(store.glob(f"{RUN_FOLDERS}/*/{HISTORY_FILE}"))
    for source in [*histories, store / MEASURES_FILE, store / RUNS_FILE]:
        target = folder / name / source.relative_to(store)
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_text(target, source.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class CardStep:
    """One step: the command it runs, about how long it takes, and the longest it may."""

    name: str
    title: str
    command: Callable[[Trip], list[str]]
    seconds: float
    limit_s: float | None = None
    part: Part | None = None


def of_paper(name: str, title: str, part: Part, run_s: float | None = None) -> CardStep:
    """The step that runs what is missing of a paper's item."""
    return CardStep(name, title, part.command, part.seconds(run_s), part=part)


# --- the pace that estimates are made of ----------------------------------------------------------


@cache
def images_per_second() -> float:
    """Of ResNet-18 in bfloat16 with augmentation, by the committed record."""
    rows = records.newest("training_throughput_cuda_*.json")["rows"]
    return min(row["images_per_second"] for row in rows if row["loop"] == "fixhead")


def run_seconds(epochs: int, images: int) -> float:
    """At the pace of ResNet-18, which is said of other networks too: none of them was timed."""
    return epochs * images / images_per_second()


# --- the steps ------------------------------------------------------------------------------------


def own_step(name: str) -> Callable[[Trip], list[str]]:
    """A step that is a function of this file, in a process of its own."""

    def command(trip: Trip) -> list[str]:
        data = [] if trip.data_dir is None else ["--data-dir", str(trip.data_dir)]
        tiny = ["--rehearse"] if trip.rehearse else []
        return [sys.executable, __file__, "--step", name, "--out", str(trip.out), *data, *tiny]

    return command


def cuda_tests(trip: Trip) -> list[str]:
    files = ["tests/many_classes/test_cuda.py", "tests/many_classes/test_half.py"]
    chosen = ["tests/many_classes/test_cuda.py"] if trip.rehearse else [*files, "tests/bench"]
    log = f"--junit-xml={(trip.out / 'cuda-tests.xml').resolve()}"
    return [sys.executable, "-m", "pytest", "-p", "no:benchmark", "-q", log, *chosen]


def walk(trip: Trip) -> list[str]:
    small = ["--device", "cpu", "--tiny", "--rounds", "1", "--skip", "cce; liger"]
    tiny = small if trip.rehearse else []  # the rivals need a card
    script = str(ROOT / "benchmarks" / "many_classes_cuda.py")
    cells = ["--cells", "short", "--seconds", "5" if trip.rehearse else "55"]
    return [sys.executable, script, *cells, "--out", str(trip.out / "records"), *tiny]


SHALEV_EPOCHS = shalev.FULL.config.recipe.epochs
HOFFER_EPOCHS = hoffer.CIFAR.config.recipe.epochs
SWEEP_RATES, SWEEP_EPOCHS = (0.1, 1.0, 10.0), 10


def steps() -> list[CardStep]:
    """Everything, in order of worth."""
    cifar, tiny = IMAGES[JPEG_COPY], IMAGES["tiny-imagenet"]
    short, long = run_seconds(SHALEV_EPOCHS, cifar), run_seconds(SHALEV_EPOCHS, tiny)

    def cosine(cells: str) -> Part:
        return Part("shalev2020", "table2", "long", cells, any_batch=True)

    return [
        CardStep("cuda-tests", "CUDA tests that have never run on a card", cuda_tests, 60, 60),
        CardStep("walk", "The walk over classes, against plain and rivals", walk, 60, 75),
        CardStep("pace", "The paper's batch size for one epoch; two runs at once", own_step("pace"),
                 2 * START_S + run_seconds(2 * (len(BATCHES) + PAIR_EPOCHS), cifar), 120),
        of_paper("table2", "Shalev Table 2: cosine at S = 1, fixed and learned, 3 + 3 seeds",
                 cosine(f"{JPEG_COPY}-resnet18"), short),
        of_paper("table1", "Shalev Table 1: dot product, fixed and learned, 3 + 3 seeds, two rates",
                 Part("shalev2020", "table1", "long", f"{JPEG_COPY}-resnet18", any_batch=True),
                 short),
        of_paper("scale-20", "Shalev Table 3: what is missing of S = 20",
                 Part("shalev2020", "table3", "medium", JPEG_COPY)),
        of_paper("tiny-imagenet", "Tiny ImageNet at 32 pixels, S = 1, 3 + 3 seeds",
                 cosine("tiny-imagenet"), long),
        of_paper("preact-resnet18", "PreActResNet-18, S = 1, 3 + 3 seeds",
                 cosine("preact-resnet18"), short),
        of_paper("mobilenetv2", "MobileNetV2, S = 1, 3 + 3 seeds", cosine("mobilenetv2"), short),
        CardStep("sweep", "Learning rates 0.1, 1 and 10, where a run may diverge",
                 own_step("sweep"),
                 START_S + 2 * len(SWEEP_RATES) * run_seconds(SWEEP_EPOCHS, cifar)),
        of_paper("yang", "Yang: what is missing of the long tail, frozen ETF with CE among it",
                 Part("yang2022", "long-tail", "medium")),
        of_paper("hoffer", "Hoffer: ResNet-56, learned, orthonormal, Hadamard, 3 seeds each",
                 Part("hoffer2018", "table1", "long"),
                 run_seconds(HOFFER_EPOCHS, IMAGES["all of cifar10-jpeg"])),
        of_paper("delacalle", "De la Calle: all arms at the paper's scale, ten seeds each",
                 Part("delacalle2019", "variability", "full")),
    ]  # fmt: skip


# --- the steps that are trainings of our own ------------------------------------------------------


def fixed_arm(trip: Trip) -> Comparison:
    """Shalev et al.'s frozen cosine arm at S = 1 with ResNet-18, which the pace is measured of."""
    recipe = shalev.long(JPEG_COPY, "resnet18").changed(weight_decay=0.0)
    return settled(recipe.comparison("random-cosine@1", 0), trip)


def sweep(trip: Trip) -> list[tuple[str, Comparison]]:
    """Folder name and comparison of each learning rate: no table of the paper."""
    chosen = []
    for rate in SWEEP_RATES:
        recipe = shalev.long(JPEG_COPY, "resnet18").with_epochs(SWEEP_EPOCHS)
        recipe = recipe.changed(lr=rate, batch_size=trip.batch_size)
        both = replace(recipe.comparison("random-dot", 0), heads=tuple(shalev.DOT.values()))
        chosen.append((f"sweep-lr{rate:g}", settled(both, trip)))
    return chosen


def settled(comparison: Comparison, trip: Trip) -> Comparison:
    """On the trip's data and device; a rehearsal is one epoch of digits with the same heads."""
    if not trip.rehearse:
        data = None if trip.data_dir is None else str(trip.data_dir)
        return replace(comparison, data_dir=data, device=trip.device)
    training = replace(
        comparison.recipe, epochs=1, batch_size=64, milestones=(), warmup_epochs=0.0,
        precision="32-true", compile=False,
    )  # fmt: skip
    return replace(
        comparison, data="digits", image_size=None, backbone="small-cnn", device=trip.device,
        augmentation="none", train_images=200, recipe=training,
    )  # fmt: skip


def measure_pace(trip: Trip) -> None:
    """Seconds of one epoch by batch size, and of two at once; what the tables then use.

    The paper's batch first, then larger ones, until six runs of Table 2 fit into the time that is
    left, as ``ON_A_CARD_SECONDS_LEFT`` gives it. The papers' steps take two runs at once where they
    are faster in sum. A measurement that is cut leaves the recorded pace's batch, for good: the
    tables may have begun with it.
    """
    if (trip.out / PACE).exists():
        return
    replace_text(trip.out / PACE, json.dumps({"batch_size": LARGE_BATCH, "processes": 1}) + "\n")
    left = float(os.environ.get("ON_A_CARD_SECONDS_LEFT", "inf"))
    seconds: dict[int, float] = {}
    for size in BATCHES[-1:] if trip.rehearse else BATCHES:
        train_for_pace(f"pace-batch{size}", size, 2, trip)
        seconds[size] = epoch_seconds(trip.out / f"pace-batch{size}")
        chosen = size
        if 6 * SHALEV_EPOCHS * seconds[size] <= SHARE_OF_TIME * left:
            break
    pair = [f"pace-both-{number}" for number in range(2)]
    commands = [own_step(f"{name}:{chosen}")(trip) for name in pair]
    started = [subprocess.Popen(one, stdout=subprocess.DEVNULL) for one in commands]
    ended = [one.wait() for one in started]
    if any(ended):
        raise SystemExit("one of two runs at once failed; the recorded pace's batch is kept")
    both = max(epoch_seconds(trip.out / name) for name in pair)
    facts = {
        "batch_size": chosen,
        "paper_batch_size": shalev.FULL.config.recipe.batch_size,
        "epoch_seconds": {str(size): round(one, 3) for size, one in seconds.items()},
        "two_at_once_epoch_seconds": round(both, 3),
        "processes": 2 if both < 2 * seconds[chosen] else 1,
    }
    replace_text(trip.out / PACE, json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts))


def epoch_seconds(folder: Path) -> float:
    """The median epoch after the first, which compiles and warms up, by the run's own history."""
    history = read(next((folder / RUN_FOLDERS).glob(f"*/{HISTORY_FILE}")))
    return float(median(row["seconds"] for row in history[1:]))


def train_for_pace(name: str, batch_size: int, epochs: int, trip: Trip) -> None:
    comparison = fixed_arm(trip)
    training = replace(comparison.recipe, epochs=epochs, batch_size=batch_size)
    compare(replace(comparison, recipe=training), trip.out / name)


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
        bound = None if trip.rehearse else step.limit_s  # a processor may take longer
        limit = left if bound is None else min(left, bound)
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


def _as_here(name: str) -> str:
    try:
        return f"{name}=={importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def fetch_wheels(folder: Path) -> None:
    """Let pip fetch ``WHEELS`` for the card's machine, not for this one, in the versions here."""
    platforms = [part for one in PLATFORMS for part in ("--platform", one)]
    named = [_as_here(name) for name in WHEELS]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", CARD_PYTHON),
        *(*platforms, *named),
    ]
    if subprocess.run(command).returncode:
        raise SystemExit(
            f"the wheels of {', '.join(WHEELS)} for Python {CARD_PYTHON} could not be fetched; "
            "put them into a folder and name it by --wheels DIR (an empty one where the card's "
            "machine has them)"
        )


def pack(target: Path, data_dir: Path, wheels: Path, with_tiny_imagenet: bool) -> list[Path]:
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


# --- home again -----------------------------------------------------------------------------------


def bring_home(trip: Path, results: Path = COMMITTED) -> list[Path]:
    """Join a trip's records of the papers to those in ``results``, and make their tables anew.

    The tables' folders. What lies there already is kept: records are added, none is replaced.
    """
    tables = []
    for brought in sorted((trip / PAPERS).iterdir()):
        store = results / brought.name
        for file in (RUNS_FILE, MEASURES_FILE):
            _add_lines(brought / file, store / file)
        for folder in sorted(brought.glob(f"{RUN_FOLDERS}/*")):
            for path in folder.iterdir():
                target = store / RUN_FOLDERS / folder.name / path.name
                if path.is_file() and not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
        made = {path.parent.name for path in brought.glob(f"*/{RESULTS_FILE}")}
        made |= {path.parent.name for path in store.glob(f"*/{RESULTS_FILE}")}
        for name in sorted(made):
            there = brought if (brought / name / RESULTS_FILE).exists() else store
            _make_table(json.loads((there / name / RESULTS_FILE).read_text("utf-8")), results)
            tables.append(store / name)
    return tables


def _add_lines(source: Path, target: Path) -> None:
    """The records of cells (or measures of them) that the target has none of, behind its own."""
    known = {_key(one) for one in read(target)}
    new = [one for one in read(source) if _key(one) not in known]
    if new:
        target.parent.mkdir(parents=True, exist_ok=True)
        ours = target.read_text(encoding="utf-8") if target.exists() else ""
        replace_text(target, ours + "".join(f"{dumps(one)}\n" for one in new))


def _key(record: Record) -> tuple[str, str]:
    return record["cell"], record.get("measure", "")


def _make_table(found: dict[str, Any], results: Path) -> None:
    request = PaperRequest(found["scale"], found["as_published"], **_asked(found["command"]))
    perform(find(found["paper"], found["item"]), request, results, RunOptions(run=False))


def _asked(command: str) -> dict[str, int]:
    """The numbers that a table's command names: ``--seeds 1 --batch-size 256``."""
    names = {"--seeds": "seeds", "--epochs": "epochs", "--batch-size": "batch_size"}
    return {names[word]: int(value) for word, value in pairwise(command.split()) if word in names}


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.pack is not None:
        wheels = options.wheels
        if wheels is None:
            wheels = options.pack / "wheels"
            fetch_wheels(wheels)
        for part in pack(options.pack, options.data_dir, wheels, options.tiny_imagenet):
            print(part, f"{part.stat().st_size / 2**20:.1f} MiB")
        return 0
    if options.home is not None:
        for folder in bring_home(options.home):
            print(folder)
        return 0
    if options.unpack is not None:
        print(*unpack(options.unpack, options.data_dir))
        return 0
    trip = Trip(options.out, options.data_dir, options.rehearse)
    if options.rehearse and options.data_dir is None:
        trip = replace(trip, data_dir=made_data(options.out / "data"))
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


def made_data(folder: Path) -> Path:
    """The papers' data sets of some images each, as their tests make them."""
    if not folder.exists():
        sys.path += [str(ROOT / "tests" / "papers"), str(ROOT / "tests" / "data")]
        made: Path = importlib.import_module("paper_data").everything(folder)
        return made
    return folder


def _run_own(name: str, trip: Trip) -> None:
    title, _, batch_size = name.partition(":")
    if batch_size:
        train_for_pace(title, int(batch_size), 2 if trip.rehearse else PAIR_EPOCHS, trip)
    elif name == "pace":
        measure_pace(trip)
    else:
        for folder, comparison in sweep(trip):
            compare(comparison, trip.out / folder)


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
    parser.add_argument("--wheels", type=Path, help="pack the wheels of this folder, fetch none")
    parser.add_argument("--home", type=Path, help="join what lies in this trip to results/papers")
    parser.add_argument("--tiny-imagenet", action="store_true", help="pack Tiny ImageNet too")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
