"""The main job: every arm and seed once, then statistics and a page, resumable at any moment.

Arms and pairs, which results.json holds, are computed from the records alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .._errors import RequestError
from ..evaluation.model_folder import Extras
from ..heads.spec import parse_head
from ..report.comparison_page import write_page
from ..runs.claims import CLAIM_SEEDS, EQUIVALENCE_MARGIN, supports_claim
from ..runs.layout import RESULTS_FILE, RESULTS_SCHEMA
from ..runs.pool import Workers
from ..runs.records import Record, write_json
from ..runs.statistics import (
    POWER,
    detectable,
    held_against,
    holm,
    paired_difference,
    seeds_needed,
    spread,
)
from ..runs.store import RunStore, read_config
from ..training.engine import Engine, open_fabric
from ..training.step import labelled
from .config import Comparison, RunPlan, plan_runs, plan_tuning
from .context import Context, check_heads, prepare, same_heads
from .folder import folder_facts, grows_from
from .run import ComparisonRunner
from .terminal import ComparisonProgress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TYPICAL_SPREAD = 0.01
"""Standard deviation of accuracy over seeds, where nothing has run yet: a point. Of the 85 arms
with three seeds or more in this project's results half spread by less than 0.6 points, three
quarters by less than 1.2, and nine tenths by less than 2."""

WARM_STEPS, TIMED_STEPS = 2, 6
EVALUATION_SHARE = 1 / 3
"""A forward pass costs about a third of a step (forward, and a backward pass of twice that)."""


def compare(
    comparison: Comparison,
    directory: Path,
    *,
    progress: ComparisonProgress | None = None,
    checkpoint_every_s: float = 5.0,
    workers: Workers | None = None,
    fabric: Fabric | None = None,
    baseline: str | None = None,
    margin: float | None = None,
    extras: Extras | None = None,
) -> dict[str, Any]:
    """Run what is missing in ``directory``, and give the content of its results.json.

    ``baseline`` is the arm that the others are held against: by itself the one that they were held
    against before, or the first learned one.

    Writes runs.jsonl (a row per finished run), results.json, report.html and runs/RUN_ID/. Started
    again after a stop, it repeats no finished run and carries an unfinished one on from its last
    checkpoint; the results are those of an undisturbed comparison, and do not depend on how many
    ``workers`` do the runs. A folder of this comparison with fewer heads or seeds grows. Where it
    is stopped by the keyboard or by an error, the page shows what is done. With a ``fabric`` of
    several processes, process 0 calls this, and the others follow (``ComparisonRunner.follow``).
    ``margin``: an arm within this difference of accuracy counts as practically equal to the
    baseline; as before, or 0.01. ``extras`` go into the models' folders.

    Raises:
        RequestError: something cannot be met as asked, or the folder is not this comparison's.
    """
    if baseline is not None:
        baseline_of(comparison.heads, baseline)
    if margin is not None and not 0 < margin < 1:
        raise RequestError(
            f"--margin must be above 0 and below 100 points, got {100 * margin:g} points"
        )
    store, facts, grows = RunStore(directory), folder_facts(comparison), grows_from(comparison)
    store.refuse_foreign(facts, grows)
    runner = ComparisonRunner(comparison, directory, checkpoint_every_s, fabric, extras or Extras())
    check_heads(runner.context)  # what cannot be met is refused before the folder is made
    _refuse_another_auto(runner.context, store)
    _ = runner.outside
    same = same_heads(runner.context)
    comparison = without(comparison, same)
    progress = progress or ComparisonProgress()
    for line in [*runner.context.choices, *map(_about_same, same.items())]:
        progress.say(f"· {line}")
    workers = (workers or Workers()).with_threads(torch.get_num_threads())
    with store.claim(facts, grows):
        try:
            rates = _tuned_rates(comparison, runner, store, progress, workers)
            _run_missing(plan_runs(comparison, rates), runner, store, progress, workers)
        except BaseException:
            with suppress(Exception):  # what stopped it is what there is to say
                if store.records():
                    write_results(directory, baseline, same, margin)
            raise
        return write_results(directory, baseline, same, margin)


def _refuse_another_auto(context: Context, store: RunStore) -> None:
    """Refuse to go on with runs of an ``auto`` that was another head in an earlier version."""
    for row in store.by_run().values():
        said = row.get("head_sentence")
        if parse_head(row["head"]).logits != "auto" or said is None:
            continue
        now = str(context.head_spec(row["head"], row["seed"]))
        if said != now:
            raise RequestError(
                f"{row['head']} was {said} when these runs were made, and is {now} now; name "
                "another folder, or the head of these runs by its switches"
            )


def write_results(
    directory: Path,
    baseline: str | None = None,
    same: Mapping[str, str] | None = None,
    margin: float | None = None,
) -> dict[str, Any]:
    """Write results.json and the page from the records of a comparison's folder, finished or not,
    and give the content of results.json.

    The baseline, the margin of equivalence, and which heads are others under another name, are
    those of the results that are there, unless they are given.

    Raises:
        RequestError: the folder is no comparison's.
    """
    before = _results_before(directory)
    same = before.get("same") or {} if same is None else same
    comparison = without(Comparison.from_dict(read_config(directory)["config"]), same)
    if baseline is None:
        baseline = (before.get("against") or {}).get("baseline")
        baseline = baseline if baseline in comparison.heads else None
    if margin is None:
        margin = (before.get("against") or {}).get("margin", EQUIVALENCE_MARGIN)
    done = RunStore(directory).by_run()
    runs = [plan.run_id for plan in plan_runs(comparison)]
    rows = [done[run] for run in runs if run in done]
    results = summarise(comparison, rows, same.get(baseline or "", baseline), same, margin)
    write_json(directory / RESULTS_FILE, results)
    write_page(directory)
    return results


def _results_before(directory: Path) -> Record:
    """The results.json that is there; nothing where there is none that can be read."""
    try:
        found = json.loads((directory / RESULTS_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def describe_plan(
    comparison: Comparison, directory: Path, baseline: str | None = None
) -> dict[str, Any]:
    """The runs that are missing in ``directory``, with the seconds each is expected to take, and
    what difference to the baseline they can show.

    Writes nothing. Raises the same RequestErrors as the comparison itself.
    """
    store = RunStore(directory)
    store.refuse_foreign(folder_facts(comparison), grows_from(comparison))
    baseline = baseline_of(comparison.heads, baseline)
    context = prepare(comparison)
    same = same_heads(context)
    comparison = without(comparison, same)
    seconds = {head: _run_seconds(context, head) for head in comparison.heads}
    plans = [*plan_tuning(comparison), *plan_runs(comparison)]
    runs = [
        {"run_id": plan.run_id, "head": plan.head, "seed": plan.seed, "seconds": seconds[plan.head]}
        for plan in plans
        if plan.run_id not in store.by_run(plan.file)
    ]
    dataset = context.dataset
    return {
        "data": comparison.data,
        "training_images": len(dataset.train),
        "test_images": len(dataset.test),
        "classes": len(dataset.classes),
        "backbone": context.backbone_name,
        "features": context.backbone(0).features,
        "device": str(context.device),
        "epochs": comparison.recipe.epochs,
        "choices": [*context.choices, *map(_about_same, same.items())],
        "done": len(plans) - len(runs),
        "baseline": same.get(baseline, baseline),
        "runs": runs,
        "shows": what_shows(len(comparison.heads), comparison.seeds),
        "seconds": sum(run["seconds"] for run in runs),
    }


def what_shows(arms: int, seeds: int) -> dict[str, Any] | None:
    """The difference to a baseline that so many seeds show, at a typical spread of runs, and how
    many seeds show half of it; None for one arm, or fewer seeds than a claim needs."""
    if arms < 2 or not supports_claim(seeds):
        return None
    difference = detectable(TYPICAL_SPREAD, arms, seeds)
    return {
        "spread": TYPICAL_SPREAD,
        "power": POWER,
        "difference": difference,
        "seeds_for_half": seeds_needed(TYPICAL_SPREAD, arms, difference / 2),
    }


def without(comparison: Comparison, same: Mapping[str, str]) -> Comparison:
    """The comparison without the arms that are others under another name."""
    if not same:
        return comparison
    return replace(comparison, heads=tuple(head for head in comparison.heads if head not in same))


def _about_same(pair: tuple[str, str]) -> str:
    head, other = pair
    return f"{head} is {other} here, and was run once, under that name."


def _run_missing(
    plans: Sequence[RunPlan],
    runner: ComparisonRunner,
    store: RunStore,
    progress: ComparisonProgress,
    workers: Workers,
) -> list[Record]:
    """The records of all plans, in the order of the plans."""
    for file in store.repair(*{plan.file for plan in plans}):
        progress.say(f"The last line of {file} was cut off by a stop; that run is repeated.")
    store.run_missing(
        plans,
        runner,
        is_done=lambda plan: plan.run_id in store.by_run(plan.file),
        listener=progress,
        workers=workers,
    )
    for plan in plans:  # also those that a kill left behind after their row was written
        store.discard_checkpoint(plan.run_id)
    return [store.by_run(plan.file)[plan.run_id] for plan in plans]


def _tuned_rates(
    comparison: Comparison,
    runner: ComparisonRunner,
    store: RunStore,
    progress: ComparisonProgress,
    workers: Workers,
) -> dict[str, float]:
    """The learning rate with the best validation score for each head; the smaller one in a tie.

    Empty without --tune. Every head gets the same grid; no tuning run sees the test set.
    """
    plans = plan_tuning(comparison)
    if not plans:
        return {}
    rows = _run_missing(plans, runner, store, progress, workers)
    best: dict[str, float] = {}
    for head in comparison.heads:
        done = [row for row in rows if row["head"] == head and row["status"] == "done"]
        if done:
            chosen = max(done, key=lambda row: (_score(row), -row["config"]["lr"]))
            best[head] = chosen["config"]["lr"]
    return best


def _score(row: Record) -> float:
    """What chose the epoch: balanced accuracy where the classes are unequal."""
    return float(row[f"val_{row['config']['choose_on']}"])


def _run_seconds(context: Context, head: str) -> float:
    plan = RunPlan(head, 0, context.comparison.recipe)
    parts = context.parts(0, plan.recipe.batch_size)
    step = _step_seconds(context, plan)
    watched = 0 if parts.validation is None else len(parts.validation)
    steps = len(parts.train) + EVALUATION_SHARE * watched
    return step * (plan.recipe.epochs * steps + 2 * EVALUATION_SHARE * len(parts.test))


def _step_seconds(context: Context, plan: RunPlan) -> float:
    """Median seconds of one training step, the batch included."""
    recipe = replace(plan.recipe, compile=False)  # compiling takes longer than what is timed
    model = context.model(plan).train()
    engine = Engine(model, recipe, open_fabric(context.device, recipe))
    engine.set_learning_rate(0.0)
    batches = context.parts(0, recipe.batch_size).train
    times: list[float] = []
    while len(times) < WARM_STEPS + TIMED_STEPS:
        epoch = labelled(batches, len(times), model.head.classes)
        start = time.perf_counter()
        for images, labels in islice(epoch, WARM_STEPS + TIMED_STEPS):
            engine.learn(images, labels)
            if context.device.type == "cuda":
                torch.cuda.synchronize(context.device)
            times.append(time.perf_counter() - start)
            start = time.perf_counter()
    timed = sorted(times[WARM_STEPS : WARM_STEPS + TIMED_STEPS])
    return timed[len(timed) // 2]


_SPREADS = (
    "test_accuracy",
    "val_accuracy",
    "last_epoch_accuracy",
    "balanced_accuracy",
    "test_loss",
)
_SIZES = ("trainable_parameters", "head_parameters", "head_bytes")


def baseline_of(heads: Sequence[str], asked: str | None = None) -> str:
    """The arm that was asked for; by itself the first one that learns its vectors, else the first.

    Raises:
        RequestError: no arm has that name.
    """
    if asked is not None and asked not in heads:
        raise RequestError(
            f"--baseline must be one of the heads here ({', '.join(heads)}), got {asked!r}"
        )
    learned = (head for head in heads if parse_head(head).learn_vectors)
    return asked or next(learned, heads[0])


def summarise(
    comparison: Comparison,
    records: Sequence[Record],
    baseline: str | None = None,
    same: Mapping[str, str] | None = None,
    margin: float = EQUIVALENCE_MARGIN,
) -> dict[str, Any]:
    """Arms in the order asked for, each held against the baseline; every pair of arms with Holm's
    correction; and notes.

    Holds no time of day and no duration: the same runs give the same results. ``same`` names heads
    that were left out because an arm of another name is the same.
    """
    metric = _metric(records)
    tail = _tail(records)
    arms = [_arm(head, _of(records, head), tail) for head in comparison.heads]
    pairs = _pairs(comparison, records, metric)
    return (
        {
            "schema": RESULTS_SCHEMA,
            "data": comparison.data,
            "backbone": comparison.backbone,
            "metric": metric,
            "claims": bool(pairs) and all(supports_claim(pair["n"]) for pair in pairs),
            "arms": arms,
            "against": held_against(arms, metric, baseline_of(comparison.heads, baseline), margin),
            "pairs": pairs,
            "notes": [*map(_about_same, (same or {}).items()), *_notes(comparison, records)],
        }
        | ({"same": dict(same)} if same else {})
        | tail
    )


def _tail(records: Sequence[Record]) -> dict[str, Any]:
    """The rule, counts and groups of unequal classes, the same in every record; else nothing."""
    names = ("imbalance", "class_counts", "groups")
    first = next((row for row in records if "groups" in row), None)
    return {} if first is None else {name: first[name] for name in names}


def _metric(records: Sequence[Record]) -> str:
    chosen = {record["config"]["choose_on"] for record in records}
    return "balanced_accuracy" if chosen == {"balanced_accuracy"} else "test_accuracy"


def _of(records: Sequence[Record], head: str) -> list[Record]:
    return sorted((row for row in records if row["head"] == head), key=lambda row: row["seed"])


def _done(rows: Sequence[Record]) -> list[Record]:
    return [row for row in rows if row["status"] == "done"]


def _arm(head: str, rows: Sequence[Record], tail: dict[str, Any]) -> dict[str, Any]:
    done = _done(rows)
    arm: dict[str, Any] = {"head": head, "n": len(done), "failed": len(rows) - len(done)}
    for name in _SPREADS:
        arm[name] = _spread([(row[name], row["seed"]) for row in done])
    if tail:
        arm["group_accuracy"] = {
            name: _spread([(row["group_accuracy"][name], row["seed"]) for row in done])
            for name in tail["groups"]
        }
    for name in _SIZES:
        arm[name] = done[0][name] if done else None
    arm["learning_rate"] = rows[0]["config"]["lr"] if rows else None
    return arm


def _spread(measured: Sequence[tuple[float | None, int]]) -> dict[str, Any]:
    """From (value, seed) of every finished run; runs without the value are left out."""
    known = [(value, seed) for value, seed in measured if value is not None]
    values = [value for value, _ in known]
    found = spread(values) if values else None
    return {
        "mean": found.mean if found else None,
        "std": found.std if found else None,
        "values": values,
        "seeds": [seed for _, seed in known],
    }


def _pairs(comparison: Comparison, records: Sequence[Record], metric: str) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = []
    for a, b in combinations(comparison.heads, 2):
        left = {row["seed"]: row[metric] for row in _done(_of(records, a))}
        right = {row["seed"]: row[metric] for row in _done(_of(records, b))}
        seeds = sorted(left.keys() & right.keys())
        if not seeds:
            continue
        found = paired_difference([left[s] for s in seeds], [right[s] for s in seeds])
        interval = None if found.low is None else [found.low, found.high]
        pairs.append(
            {
                "a": a,
                "b": b,
                "n": found.n,
                "difference": {"mean": found.mean, "ci95": interval},
                "p_value_raw": found.p_value,
                "test": "paired t",
            }
        )
    for pair, p_value in zip(pairs, holm([pair["p_value_raw"] for pair in pairs]), strict=True):
        pair["p_value"] = p_value
    return pairs


def _notes(comparison: Comparison, records: Sequence[Record]) -> list[str]:
    planned = comparison.seeds * len(comparison.heads)
    notes = []
    if len(records) < planned:
        notes.append(
            f"{len(records)} of {planned} runs are done: the comparison was stopped, or is still "
            "at work; started again, it does the others."
        )
    notes += [_about_counts(tail)] if (tail := _tail(records)) else []
    if not comparison.tune:
        notes.append(
            f"All arms used one learning rate ({comparison.recipe.lr:g}), which may suit one "
            "better than another; --tune lr=… searches the same grid for each."
        )
    else:
        grid = ", ".join(f"{rate:g}" for rate in comparison.tune)
        notes.append(
            f"Every arm's learning rate was chosen on validation from the same grid ({grid}), "
            "with seed 0."
        )
    if any(head in ("random-cosine@1", "learned-cosine@1") for head in _asked(comparison)):
        notes.append(
            "Cosine arms at scale 1 cannot reach a high probability, as in the paper; @auto "
            "solves for the scale at which a perfect feature reaches 0.99."
        )
    if not supports_claim(comparison.seeds):
        notes.append(f"Fewer than {CLAIM_SEEDS} seeds: no claim is made about which arm is better.")
    failed = sum(row["status"] == "failed" for row in records)
    if failed:
        notes.append(f"{failed} of {len(records)} runs failed; see their errors below.")
    return notes


def _about_counts(tail: dict[str, Any]) -> str:
    counts = tail["class_counts"]
    rule = "" if tail["imbalance"] is None else f" ({tail['imbalance']})"
    sizes = ", ".join(f"{name} {len(classes)}" for name, classes in tail["groups"].items())
    return (
        f"Training classes are unequal{rule}: {max(counts)} to {min(counts)} images. Epochs were "
        f"chosen on balanced validation accuracy; groups by training images, in classes: {sizes}."
    )


def _asked(comparison: Comparison) -> list[str]:
    return [
        head if "@" in head or head not in ("random-cosine", "learned-cosine") else f"{head}@1"
        for head in comparison.heads
    ]
