"""A comparison's folder beyond one command: it grows by arms and seeds, and is joined with others.

A results.json that says less than the records is found here, too.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._errors import RequestError
from .._version import __version__
from ..runs.layout import (
    CHECKPOINT_FOLDER,
    COMPARISON_SCHEMA,
    CONFIG_FILE,
    RESULTS_FILE,
    RUN_FOLDERS,
    RUN_SCHEMA,
    RUNS_FILE,
    TUNING_FILE,
)
from ..runs.records import Record, latest, read
from ..runs.store import Grows, RunStore, first_difference, read_config
from .config import Comparison, plan_runs, plan_tuning

_OF_THE_MACHINE = {
    *("train_seconds", "images_per_second", "peak_memory_bytes"),
    *("started_at", "device", "versions", "commit"),
}
"""What a record says of when, where and how fast: two records of one run may differ in it."""

_ANYWHERE = {"data_dir": None, "device": "auto"}
"""What may differ between machines that share one protocol."""


def folder_facts(comparison: Comparison) -> Record:
    """What config.json says of a comparison's folder."""
    return {
        "schema": COMPARISON_SCHEMA,
        "fixhead": __version__,
        "config": comparison.to_dict(),
        "digest": comparison.digest,
    }


def grows_from(comparison: Comparison) -> Grows:
    """Whether a folder's config.json is of this comparison with fewer heads or seeds."""

    def grows(theirs: Record) -> bool:
        config = theirs["config"]
        heads, seeds, first = config["heads"], config["seeds"], config.get("first_seed", 0)
        ours = range(comparison.first_seed, comparison.first_seed + comparison.seeds)
        if not {*heads} <= {*comparison.heads} or not {first, first + seeds - 1} <= {*ours}:
            return False
        fewer = replace(comparison, heads=tuple(heads), seeds=seeds, first_seed=first)
        return bool(fewer.digest == theirs["digest"])

    return grows


def is_behind(directory: Path) -> bool:
    """Whether results.json says less than the records, as after a kill, while runs go on, or when
    heads were added."""
    path = directory / RESULTS_FILE
    if not (directory / CONFIG_FILE).exists() or not (directory / RUNS_FILE).exists():
        return False
    try:
        results = json.loads(path.read_bytes())
        summed = {arm["head"]: arm["n"] + arm["failed"] for arm in results["arms"]}
        same = results.get("same", {})
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False  # for the page to say what is wrong with it
    rows = latest(read(directory / RUNS_FILE))
    if any(row.get("schema") != RUN_SCHEMA for row in rows):
        return False
    runs = Counter(row["head"] for row in rows)
    heads = [head for head in read_config(directory)["config"]["heads"] if head not in same]
    return summed != {head: runs[head] for head in heads}


def merge(folders: Sequence[Path], out: Path, say: Callable[[str], None]) -> Comparison:
    """Join comparisons of one protocol, perhaps from several machines, in the new folder ``out``.

    They may differ in heads, seeds, device and the place of the data. Their finished runs are
    copied, those that several have with equal results once; what is missing then, between seeds
    for example, `fixhead compare` runs when it is started on ``out``. Started again after a stop,
    merging goes on.

    Raises:
        RequestError: fewer than two folders, other protocols, a run with different results in two
            folders, or a folder ``out`` with other files in it.
    """
    if len({folder.resolve() for folder in [*folders, out]}) < max(len(folders) + 1, 3):
        raise RequestError(
            "merge needs two or more different folders, and another one for --out, got "
            f"{', '.join(map(str, folders))} and --out {out}"
        )
    joined = _joined({folder: read_config(folder)["config"] for folder in folders})
    runs = {
        file: _agreed({folder: latest(read(folder / file)) for folder in folders}, say)
        for file in (TUNING_FILE, RUNS_FILE)
    }
    store, facts = RunStore(out), folder_facts(joined)
    with store.claim(facts):
        store.repair(*runs)
        for plan in [*plan_tuning(joined), *plan_runs(joined)]:
            found = runs[plan.file].get(plan.run_id)
            if found is None or plan.run_id in store.by_run(plan.file):
                continue
            folder, record = found
            shutil.copytree(
                folder / RUN_FOLDERS / plan.run_id,
                store.run_folder(plan.run_id),
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns(".*", CHECKPOINT_FOLDER),
            )
            store.add(record, plan.file)  # last, so that a record always has its run's folder
    return joined


def _joined(configs: dict[Path, Record]) -> Comparison:
    """The comparison with all heads, in their order, and all seeds."""
    (first_folder, first), *others = (
        (folder, Comparison.from_dict(config)) for folder, config in configs.items()
    )
    for folder, other in others:
        if _protocol(other).digest != _protocol(first).digest:
            difference = first_difference(_protocol(first).to_dict(), _protocol(other).to_dict())
            raise RequestError(
                f"merge needs comparisons of one protocol, got {first_folder} made with "
                f"{difference} ({folder}); only heads, seeds, device and the data's folder may "
                "differ"
            )
    every = [first, *(other for _, other in others)]
    low = min(one.first_seed for one in every)
    high = max(one.first_seed + one.seeds for one in every)
    heads = tuple(dict.fromkeys(head for one in every for head in one.heads))
    return replace(first, heads=heads, first_seed=low, seeds=high - low)


def _protocol(comparison: Comparison) -> Comparison:
    changes: dict[str, Any] = _ANYWHERE | {"heads": ("learned-dot",), "seeds": 1, "first_seed": 0}
    return replace(comparison, **changes)


def _agreed(
    found: dict[Path, list[Record]], say: Callable[[str], None]
) -> dict[str, tuple[Path, Record]]:
    """Every run's record, and the folder that has it; a failed run gives way to a finished one."""
    kept: dict[str, tuple[Path, Record]] = {}
    for folder, records in found.items():
        for record in records:
            run = record["run_id"]
            if run not in kept:
                kept[run] = folder, record
                continue
            place, known = kept[run]
            if known["status"] == record["status"] == "done":
                _refuse_conflict(run, (place, known), (folder, record))
            elif known["status"] != record["status"]:
                done, failed = (folder, place) if record["status"] == "done" else (place, folder)
                say(f"{run} failed in {failed}; the finished one of {done} is taken.")
                kept[run] = (folder, record) if done == folder else (place, known)
    return kept


def _refuse_conflict(run: str, first: tuple[Path, Record], second: tuple[Path, Record]) -> None:
    (one, ours), (other, theirs) = first, second
    for name in {**ours, **theirs}:
        if name not in _OF_THE_MACHINE and ours.get(name) != theirs.get(name):
            raise RequestError(
                f"merge needs one result for a run, got {run} with different {name} in {one} and "
                f"in {other}; the same seed need not give the same figures on another processor: "
                "leave one of them out, or give the machines different seeds"
            )
