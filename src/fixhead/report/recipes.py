"""What each arm was trained with, as the records of its runs say, not as it was planned; and how to
get a comparison's records again: its command line, where it ran, and every option."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from ..runs.records import Record
from .numbers import MISSING, duration, listing, memory
from .page import Section, paragraph
from .records import ComparisonRecords, Settings, arms_by_name, settings_of_arms
from .render import fill, join
from .tables import Column, TableCell, TableRow, arm_name, render_table

TITLES = {
    "data": "Data set",
    "image_size": "Image size, pixels",
    "imbalance": "Long tail",
    "image_column": "Column of images",
    "label_column": "Column of labels",
    "train_part": "Training part",
    "test_part": "Test part",
    "class_order": "Order of classes",
    "class_map": "Class map",
    "keep_together": "Kept together",
    "skip_unreadable": "Unreadable images left out",
    "max_pixels": "Largest picture, pixels",
    "train_images": "Training images",
    "backbone": "Network",
    "features": "Features",
    "neck": "Neck",
    "pretrained": "Published first weights",
    "initial": "First weights",
    "start_from": "Started from",
    "augmentation": "Augmentation",
    "sampling": "Drawing of images",
    "choose": "Epoch chosen on",
    "choose_on": "Epoch chosen by",
    "loss": "Loss",
    "epochs": "Epochs",
    "batch_size": "Images in a step",
    "optimizer": "Optimiser",
    "lr": "Learning rate",
    "momentum": "Momentum",
    "nesterov": "Nesterov’s momentum",
    "weight_decay": "Weight decay",
    "schedule": "Course of the rate",
    "warmup_epochs": "Warm-up, epochs",
    "milestones": "Rate lowered after epochs",
    "gamma": "Factor at each of them",
    "plateau_patience": "Patience on a plateau, epochs",
    "plateau_factor": "Factor on a plateau",
    "ema": "Decay of averaged weights",
    "patience": "Patience before stopping, epochs",
    "precision": "Precision",
    "compile": "Network compiled",
    "deterministic": "Deterministic forms only",
}
"""A setting's name in plain words, by its name in a record."""

_SOURCE = (
    "Read from the records of the runs, not from the plan. Weight decay is of every trained weight "
    "but a head's scale and bias; frozen vectors have none."
)


def render_recipes(
    labels: Sequence[Column],
    arms: Sequence[Sequence[TableCell]],
    shared: Settings,
    differing: Sequence[Settings],
) -> Markup:
    """The settings in which arms differ as a table, and those that all share in a list.

    ``arms`` are the cells that name each arm, one for each of ``labels``; ``shared`` and
    ``differing`` are what ``settings_of_arms`` gives.
    """
    names = list(dict.fromkeys(name for settings in differing for name in settings))
    if names:
        columns = [*labels, *(Column(title_of(name), sortable=False) for name in names)]
        rows = [
            TableRow([*arm, *(TableCell(_listed(settings[name])) for name in names)])
            for arm, settings in zip(arms, differing, strict=True)
        ]
        first = fill("parts", "wide", render_table("recipes", _SOURCE, columns, rows))
    else:
        words = "All arms were trained alike. " if len(arms) > 1 else ""
        first = paragraph(words + _SOURCE, "small")
    kept = [(title_of(name), _listed(values)) for name, values in shared.items()]
    table = fill("table", "plain", ("Setting", "Value"), kept)
    summary = "Settings that all arms share" if len(arms) > 1 else "Its settings"
    return join([first, fill("parts", "details", summary, table)])


def title_of(setting: str) -> str:
    """``lr`` → ``Learning rate``; a setting of another version in its own words."""
    words = setting.replace("_", " ")
    return TITLES.get(setting, words[:1].upper() + words[1:])


def training(records: ComparisonRecords) -> Section | None:
    """What each arm was trained with."""
    arms = [
        (TableCell(arm_name(place, arm), name), records.of(name))
        for place, (name, arm) in enumerate(arms_by_name(records).items())
        if records.of(name)
    ]
    if not arms:
        return None
    settings = settings_of_arms([runs for _, runs in arms])
    labels = [Column("Head", kind="name", sortable=False)]
    body = render_recipes(labels, [[name] for name, _ in arms], *settings)
    return Section("training", "How each head was trained", body)


def _listed(values: Sequence[Any]) -> str:
    return listing([plain(value) for value in values]) if values else MISSING


def plain(value: Any) -> str:
    """A setting as it is read: ``yes`` and ``no``, a dash for nothing."""
    if value is None or value == []:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


OPTIONS = (
    "data", "data_dir", "image_size", "imbalance", "backbone", "features", "neck", "pretrained",
    "heads", "seeds", "first_seed", "epochs", "batch_size", "lr", "tune", "optimizer",
    "weight_decay", "schedule", "warmup_epochs", "augmentation", "sampling", "patience", "ema",
    "device", "precision", "compile", "deterministic",
)  # fmt: skip
"""Options of ``fixhead compare``, in its own order, with underscores."""
_ZERO_IS_OFF = ("first_seed", "patience", "ema")


def reproduction(records: ComparisonRecords) -> Section:
    """The command, the machine, and the whole configuration."""
    body = [
        _intro(records),
        fill("comparison", "command", command(records)),
        _environment(records),
        _options(records),
    ]
    return Section("reproduce", "How to reproduce", join(body))


def _intro(records: ComparisonRecords) -> Markup:
    rest = unspoken(records)
    fixed = "" if not rest else " Options it does not name are this version’s own, listed below."
    return paragraph(
        f"This command, with fixhead {records.config.get('fixhead', 'of the version below')}, runs "
        f"the same comparison.{fixed}"
    )


def _environment(records: ComparisonRecords) -> Markup | None:
    runs = records.runs
    if not runs:
        return None
    versions = [run.get("versions") or {} for run in runs]
    names = list(dict.fromkeys(name for found in versions for name in found))
    started = [run["started_at"] for run in runs if run.get("started_at")]
    rows = [
        ("Device", _distinct(run.get("device") for run in runs)),
        (
            "Versions",
            ", ".join(f"{n} {_distinct(v.get(n) for v in versions)}" for n in names) or MISSING,
        ),
        ("Commit", _distinct(run.get("commit") for run in runs)),
        ("Started", _span(started)),
        ("Training time", duration(_total(runs, "train_seconds"))),
        ("Peak memory", memory(_largest(runs, "peak_memory_bytes"))),
        ("Configuration digest", str(records.config.get("digest", MISSING))),
    ]
    return fill("parts", "facts", rows, "environment")


def _options(records: ComparisonRecords) -> Markup:
    rows = [(name, _shown(value)) for name, value in flat(records.config["config"]).items()]
    table = fill("table", "plain", ("Option", "Value"), rows, "Everything that config.json holds")
    return fill("parts", "details", "Every option of this comparison", table)


def command(records: ComparisonRecords) -> str:
    """``fixhead compare --data digits …``, one option per line, ready for a shell."""
    values = flat(records.config["config"])
    parts = [_option(name, values[name]) for name in OPTIONS if name in values]
    parts.append(f"--out {shlex.quote(records.name)}")
    return " \\\n  ".join(["fixhead compare", *(part for part in parts if part)])


def unspoken(records: ComparisonRecords) -> dict[str, Any]:
    """What the configuration holds beyond the command's options: fixed by this version."""
    return {name: v for name, v in flat(records.config["config"]).items() if name not in OPTIONS}


def flat(config: Record) -> Record:
    """The options with the recipe's beside them."""
    options = {name: value for name, value in config.items() if name != "recipe"}
    return {**options, **config.get("recipe", {})}


def _option(name: str, value: Any) -> str | None:
    flag = "--" + name.replace("_", "-")
    if value is None or value is False or value == [] or (name in _ZERO_IS_OFF and value == 0):
        return None
    if value is True:
        return flag
    if name == "tune":
        return f"{flag} {shlex.quote('lr=' + _joined(value))}"
    return f"{flag} {shlex.quote(_joined(value) if isinstance(value, list) else _plain(value))}"


def _joined(values: list[Any]) -> str:
    return ",".join(_plain(value) for value in values)


def _plain(value: Any) -> str:
    """A number as Python reads it back: nothing is lost."""
    return repr(value) if isinstance(value, float) else str(value)


def _distinct(values: Iterable[Any]) -> str:
    """The value that all runs share, or all that there are."""
    found = list(dict.fromkeys(str(value) for value in values if value is not None))
    return listing(found) if found else "not recorded"


def _span(times: Sequence[str]) -> str:
    if not times:
        return "not recorded"
    first, last = min(times), max(times)
    return first if first == last else f"{first} to {last} (last run)"


def _total(runs: Sequence[Record], name: str) -> float | None:
    values = [run[name] for run in runs if run.get(name) is not None]
    return sum(values) if values else None


def _largest(runs: Sequence[Record], name: str) -> float | None:
    return max((run[name] for run in runs if run.get(name) is not None), default=None)


def _shown(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        listing([str(part) for part in value]) if isinstance(value, list) and value else str(value)
    )
