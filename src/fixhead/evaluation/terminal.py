"""``evaluation.json``, printed for a person."""

from __future__ import annotations

from typing import Any, get_args

from rich.console import Console
from rich.table import Column, Table

from .. import measures
from ..runs.records import Record


def show_evaluation(record: Record) -> None:
    """One model part by part, several side by side; then corruptions and further sets."""
    console = Console(highlight=False)
    models = record["models"]
    console.print(f"{record['title']}: {models[0]['images']:,} test images")
    # Names are folded, never cut: their ends tell them apart.
    table = Table("", *(Column(model["name"], overflow="fold") for model in models))
    for title, values in _rows(models):
        table.add_row(title, *values)
    console.print(table)
    if record["corruptions"] is not None:
        console.print(_corruptions(record["corruptions"]))
    for extra in record["also"]:
        console.print(_also(extra))
    for other in record["outside"]:
        console.print(_outside(other))


def _rows(models: list[Record]) -> list[tuple[str, list[str]]]:
    def row(title: str, *path: str, percent: bool = False) -> tuple[str, list[str]]:
        return title, [_shown(_dig(model, *path), percent) for model in models]

    rows = []
    for part in get_args(measures.Part):
        for measure in measures.of_part(part):
            rows.append(row(measure.title, *measure.path, percent=measure.unit == "fraction"))
        if part == "accuracy":
            for name in models[0]["group_accuracy"] or ():
                rows.append(row(f"accuracy, {name}", "group_accuracy", name, percent=True))
    rows.append(row("Spearman ρ, confusion and cosine", "geometry", "spearman", "rho"))
    rows.append(("classes never predicted", [str(len(m["never_predicted"])) for m in models]))
    if any(model["areas"] for model in models):
        gone = [_dig(model, "areas", "vanished") for model in models]
        rows.append(("classes without an area", ["–" if g is None else str(len(g)) for g in gone]))
    return rows


def _corruptions(record: Record) -> Table:
    compared = record["baseline"] is not None
    title = f"Accuracy under corruption (strengths for {record['table']} pixels)"
    if record["published"] is not None:
        title = f"Accuracy on {record['published']}"
    columns: list[Column | str] = [
        Column("head", overflow="fold"),
        "corruption",
        *(f"severity {one}" for one in record["severities"]),
    ]
    if compared:
        columns.append(f"error against {record['baseline']}")
    table = Table(*columns, title=title)
    for arm in record["arms"]:
        for kind, rates in arm["accuracy"].items():
            error = [_shown(arm["corruption_error"][kind])] if compared else []
            shown = [_shown(value, True) for value in rates.values()]
            table.add_row(arm["head"], kind, *shown, *error)
        mean = ["" for _ in record["severities"][1:]]
        last = [_shown(arm["mean_corruption_error"])] if compared else []
        table.add_row(arm["head"], "mean", _shown(arm["mean_accuracy"], True), *mean, *last)
        table.add_section()
    return table


def _also(extra: Record) -> Table:
    table = Table(
        Column("head", overflow="fold"), "accuracy", "drop, points",
        title=f"{extra['title']}: {extra['images']:,}",
    )  # fmt: skip
    for arm in extra["arms"]:
        drop = {name: f"{100 * value:+.2f}" for name, value in arm["drop"].items()}
        interval = f"{drop['value']} ({drop['low']} to {drop['high']})"
        table.add_row(arm["head"], _shown(arm["accuracy"], True), interval)
    return table


def _outside(other: Record) -> Table:
    table = Table(
        Column("model", overflow="fold"), "score", "AUROC", "accepted at 95 % recall",
        title=f"{other['title']}: {other['images']:,} images of other classes",
    )  # fmt: skip
    for model in other["models"]:
        for score, words in (("largest_cosine", "largest cosine"), ("energy", "energy")):
            values = model[score]
            accepted = _shown(values["fpr_at_95"], True)
            table.add_row(model["name"], words, _shown(values["auroc"]), accepted)
    return table


def _dig(record: Any, *path: str) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _shown(value: float | None, percent: bool = False) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if percent else f"{value:.4g}"
