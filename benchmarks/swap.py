"""swap_head: how long it takes, what a step costs after it, and which architectures it is good for.

Run: python benchmarks/swap.py time            (about 3 minutes on 2 cores)
     python benchmarks/swap.py architectures   (about 15 minutes; up to 8 GiB of memory)
     python benchmarks/swap.py table           (writes both into docs/swap.md)

``architectures`` carries on where it was stopped: rows that are in the file are not tried again.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import records
from fixhead import ClassificationHead
from fixhead._torchvision import import_torchvision
from fixhead.bench import timing
from fixhead.heads.swap import swap_head, unswap
from fixhead.runs import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "heads"))
import swap_catalogue
import swap_check

CLASSES = 1000


def architectures(library: str | None) -> None:
    """swap → forward → backward → unswap over the whole list, a row each, faults included."""
    day = datetime.now(UTC).date().isoformat()
    path = records.RESULTS / f"swap_architectures_{day}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    done = {(row["library"], row["architecture"]) for row in rows}
    everything = swap_catalogue.TIMM + swap_catalogue.TORCHVISION + swap_catalogue.TRANSFORMERS
    for item in everything:
        if (item.library, item.name) in done or library not in (None, item.library):
            continue
        start = time.perf_counter()
        row = _tried(item)
        rows.append(row)
        _save(path, rows)
        print(f"{item}: {row.get('error', 'ok')}  {time.perf_counter() - start:.1f} s", flush=True)
        gc.collect()


def _tried(item: swap_catalogue.Architecture) -> dict[str, Any]:
    try:
        return swap_check.check(item)
    except Exception as error:  # a row that fails is a row of the table
        words = f"{type(error).__name__}: {error}".splitlines()[0]
        return {"library": item.library, "architecture": item.name, "error": words[:300]}


def _save(path: Path, rows: list[dict[str, Any]]) -> None:
    record = {
        "benchmark": "swap_architectures",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe_device(torch.device("cpu")),
        "versions": machine.versions() | _versions(),
        "commit": machine.commit(),
        "classes": swap_check.CLASSES,
        "rows": rows,
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("timm", "torchvision", "transformers"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


MODELS = {"resnet50": 4, "vit_base_patch16_224": 1}
"""The models that are timed, and the images of a training step."""


def times(rounds: int, model: str | None) -> None:
    """swap_head on two models at K = 1,000, and a training step before and after it.

    Rows of today's record that belong to the other model stay.
    """
    wanted = [model] if model else list(MODELS)
    rows = []
    for name in wanted:
        for row in [*_swap_times(name, rounds), *_step_times(name, 224, MODELS[name], rounds)]:
            rows.append(row)
            print(row, flush=True)
    today = records.RESULTS / f"swap_cpu_{datetime.now(UTC):%Y-%m-%d}.json"
    if today.exists():
        kept = json.loads(today.read_text(encoding="utf-8"))["rows"]
        rows = [row for row in kept if row["model"] not in wanted] + rows
    print(records.write("swap", rows, threads=torch.get_num_threads(), classes=CLASSES))


def _model(name: str) -> nn.Module:
    import_torchvision()
    import timm

    model: nn.Module = timm.create_model(name)
    return model


def _swap_times(name: str, rounds: int) -> list[dict[str, Any]]:
    model = _model(name)
    ready = ClassificationHead(model.num_features, CLASSES, vectors="random", scale=20.0)
    rows = []
    # A ready head shows the swap alone; the others also construct their vectors.
    heads: dict[str, Any] = {"a ready head": ready, "given vectors": ready.vectors.clone()}
    heads |= {preset: preset for preset in ("random-cosine", "hadamard", "auto")}
    if model.num_features >= CLASSES - 1:
        heads["simplex"] = "simplex"
    for label, head in heads.items():
        samples = []
        swap_head(model, head, classes=CLASSES)  # a warm-up
        unswap(model)
        for _ in range(rounds):
            start = time.perf_counter()
            swap_head(model, head, classes=CLASSES)
            samples.append(time.perf_counter() - start)
            unswap(model)
        rows.append({"model": name, "what": f"swap_head, {label}"} | timing.spread(samples))
    return rows


def _step_times(name: str, size: int, n: int, rounds: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, size, size, generator=generator)
    y = torch.randint(CLASSES, (n,), generator=generator)
    before, after = _model(name), _model(name)
    swap_head(after, "random-cosine@20", classes=CLASSES)
    work = {"before the swap": _stepping(before, x, y), "after the swap": _stepping(after, x, y)}
    samples = timing.interleaved(work, rounds=rounds, sample_s=0.01)
    reference = samples["before the swap"]
    return [
        {"model": name, "what": f"training step (batch {n}), {label}"}
        | timing.spread(own, reference if own is not reference else None)
        for label, own in samples.items()
    ]


def _stepping(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], object]:
    trained = [own for own in model.parameters() if own.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-6, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def table() -> None:
    """Write the newest results into docs/swap.md, between their marks."""
    times_lines = _times_table(records.newest("swap_cpu_*.json"))
    records.rewrite("swap.md", "times", times_lines)
    newest = records.newest("swap_arch*.json")
    records.rewrite("swap.md", "architectures", _architectures_table(newest))


def _times_table(record: dict[str, Any]) -> list[str]:
    lines = [
        f"K = {record['classes']:,}, {record['machine']}, {record['date'][:10]}. A ready head is "
        "the swap alone; the others construct their vectors. Where the spread of the steps is "
        "wider than 1 %, as on a shared machine, they do not settle whether a step after the swap "
        "stays within 1 % of one before.",
        "",
        "| model | what | median ms | least ms | most ms |",
        "|---|---|---:|---:|---:|",
    ]
    return lines + [
        f"| {row['model']} | {row['what']} | {row['median_ms']:.1f} | {row['min_ms']:.1f} | "
        f"{row['max_ms']:.1f} |"
        for row in record["rows"]
    ]


def _architectures_table(record: dict[str, Any]) -> list[str]:
    rows = record["rows"]
    good = [row for row in rows if "error" not in row]
    counts = ", ".join(
        f"{sum(row['library'] == name for row in good)} of {name}"
        for name in ("timm", "torchvision", "transformers")
    )
    lines = [
        f"{len(good)} of {len(rows)} architectures passed ({counts}), {record['date'][:10]}.",
        "",
        "| library | architecture | heads | trained parameters saved | ok |",
        "|---|---|---|---:|---|",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['library']} | {row['architecture']} | {row['error']} | | no |")
            continue
        share = row["saved"] / row["parameters"]
        lines.append(
            f"| {row['library']} | {row['architecture']} | {'; '.join(row['heads'])} | "
            f"{row['saved']:,} ({share:.1%}) | yes |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["time", "architectures", "table"])
    parser.add_argument("--library", choices=["timm", "torchvision", "transformers"])
    parser.add_argument("--model", choices=list(MODELS), help="time only this one")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if options.what == "time":
        times(options.rounds, options.model)
    elif options.what == "table":
        table()
    else:
        architectures(options.library)


if __name__ == "__main__":
    main()
