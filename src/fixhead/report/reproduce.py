"""The command line that a comparison's configuration stands for."""

from __future__ import annotations

import shlex
from typing import Any

from .records import Record, Records

OPTIONS = (
    "data", "data_dir", "image_size", "imbalance", "backbone", "features", "neck", "pretrained",
    "heads", "seeds", "first_seed", "epochs", "batch_size", "lr", "tune", "optimizer",
    "weight_decay", "schedule", "warmup_epochs", "augmentation", "device", "precision", "compile",
    "deterministic",
)  # fmt: skip
"""Options of ``fixhead compare``, in its own order, with underscores."""


def command(records: Records) -> str:
    """``fixhead compare --data digits …``, one option per line, ready for a shell."""
    values = flat(records.config["config"])
    parts = [_option(name, values[name]) for name in OPTIONS if name in values]
    parts.append(f"--out {shlex.quote(records.name)}")
    return " \\\n  ".join(["fixhead compare", *(part for part in parts if part)])


def unspoken(records: Records) -> dict[str, Any]:
    """What the configuration holds beyond the command's options: fixed by this version."""
    return {name: v for name, v in flat(records.config["config"]).items() if name not in OPTIONS}


def flat(config: Record) -> Record:
    """The options with the recipe's beside them."""
    options = {name: value for name, value in config.items() if name != "recipe"}
    return {**options, **config.get("recipe", {})}


def _option(name: str, value: Any) -> str | None:
    flag = "--" + name.replace("_", "-")
    if value is None or value is False or value == [] or (name == "first_seed" and value == 0):
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
