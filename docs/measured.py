"""Write the README's measured table from the records in results/, so that nobody types a figure.

Run: python docs/measured.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fixhead.runs.layout import RESULTS_FILE, RUNS_FILE
from fixhead.runs.records import read

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- measured: docs/measured.py writes this -->", "<!-- end of measured -->"
PAPERS = ROOT / "results" / "papers"
TABLES = (
    ("shalev2020-medium", "table2", "cosine, S = 1"),
    ("shalev2020-small", "table1", "dot"),
    ("shalev2020-small", "table2", "cosine, S = 1"),
    ("shalev2020-small", "table3", "cosine, best of S = 1, 20"),
)
STARTS = (
    ("delacalle2019-full", "ResNet-101, 100 epochs"),
    ("delacalle2019-small", "the small network, 100 epochs"),
)
SETS = (("digits", "digits-demo"), ("MNIST, 2 epochs", "mnist-cosine-scale-1"))


def main() -> None:
    path = ROOT / "README.md"
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")


def updated(text: str) -> str:
    """The README with the table that the records give."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{paper_table()}\n\n{table()}\n{END}{rest.split(END)[1]}"


def paper_table() -> str:
    """Frozen against learned random vectors, as Shalev et al. 2020 compare them, run here."""
    lines = [
        "| logits | data | network | frozen | learned | frozen − learned, points (95 % interval) | "
        "in the paper | runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    verdicts = []
    for folder, item, logits in TABLES:
        path = PAPERS / folder / item / RESULTS_FILE
        if not path.exists():
            continue
        found = _read(path)
        places = list(dict.fromkeys(row["row"] for row in found["rows"]))
        for place, claim in zip(places, found["claims"], strict=True):
            if claim["difference"] is None or claim["difference"]["ci95"] is None:
                continue  # fewer than two paired runs
            fixed, learned = (row for row in found["rows"] if row["row"] == place)
            data, network = place.rsplit(", ", 1)
            (low, high), mean = claim["difference"]["ci95"], claim["difference"]["mean"]
            lines.append(
                f"| {logits} | {data} | {network} | {_spread(fixed)} | {_spread(learned)} | "
                f"{100 * mean:+.2f} ({100 * low:+.2f} … {100 * high:+.2f}) | "
                f"{_printed(fixed, learned)} | "
                f"{claim['n']} + {claim['n']} |"
            )
            verdicts.append((logits, f"{data}, {network}", claim["verdict"]))
    told = [starts_in_words(*one) for one in STARTS]
    return "\n".join([*lines, "", _in_words(verdicts), "", at_another_scale(), *told])


def at_another_scale() -> str:
    """The first table's network at S = 20: those seeds of which both arms were run."""
    by_arm: dict[str, dict[int, float]] = {"random": {}, "learned": {}}
    for row in read(PAPERS / TABLES[0][0] / RUNS_FILE):
        arm, logits, scale = row["head"].replace("-", "@").split("@")
        if (logits, scale, row["data"]) == ("cosine", "20", "cifar10-jpeg"):
            by_arm[arm][row["seed"]] = row["test_accuracy"]
    seeds = sorted(by_arm["random"].keys() & by_arm["learned"].keys())
    frozen, learned = (
        100 * sum(by_arm[arm][seed] for seed in seeds) / len(seeds) for arm in ("random", "learned")
    )
    return (
        f"- The same at S = 20: frozen {frozen:.2f} %, learned {learned:.2f} % "
        f"({len(seeds)} + {len(seeds)} runs)."
    )


def starts_in_words(folder: str, network: str) -> str:
    """de la Calle et al. 2019: random and guided starts on thinned MNIST, beside their figures."""
    found = _read(PAPERS / folder / "variability" / RESULTS_FILE)
    rows = {(row["row"], row["column"]): row for row in found["rows"]}

    def told(arm: str) -> str:
        spread = rows[arm, "test accuracy, largest minus smallest run"]
        gone = rows[arm, "classes without an area"]["ours"]["mean"]
        ours, theirs = spread["ours"], spread["printed"]["value"]
        return (
            f"{_spread(rows[arm, 'test accuracy'])} over {ours['n']} runs, "
            f"{100 * ours['mean']:.1f} points from worst to best (in the paper "
            f"{100 * theirs:.0f}), {gone:.1f} of 10 classes without an area on average"
        )

    return (
        f"- de la Calle et al.'s thinned MNIST in two dimensions, {network}: random starts reach "
        f"{told('random')}; guided starts {told('guided')}."
    )


def _spread(row: dict[str, Any]) -> str:
    ours = row["ours"]
    return f"{100 * ours['mean']:.2f} ± {100 * ours['std']:.2f} %"


def _printed(fixed: dict[str, Any], learned: dict[str, Any]) -> str:
    """``93.2 % and 70.4 %``, with what the paper's figures are of."""
    values = [(row["printed"] or {}).get("value") for row in (fixed, learned)]
    if None in values:
        return "no such figure"
    note = fixed["printed"]["note"]
    said = " and ".join(f"{100 * value:.1f} %" for value in values)
    return said + (f" ({note})" if note else "")


WORDS = {
    "holds here": "it holds here",
    "the opposite holds here": "learned is above frozen here",
    "not shown here: the interval holds zero": "no difference is shown here",
}


def _in_words(verdicts: list[tuple[str, str, str]]) -> str:
    """Where “frozen above learned” held here and where it did not."""
    said = []
    for verdict in WORDS:
        places = [f"{logits} ({data})" for logits, data, found in verdicts if found == verdict]
        if places:
            said.append(f"{WORDS[verdict]} for {', '.join(places)}")
    return f"The paper's claim that frozen is above learned: {'; '.join(said)}."


def table() -> str:
    lines = [
        "| data | head | test accuracy | compactness | runs | trained in the head |",
        "|---|---|---|---|---|---|",
    ]
    notes = []
    for title, folder in SETS:
        results = _read(ROOT / "results" / folder / RESULTS_FILE)
        compactness = _compactness(ROOT / "results" / folder / RUNS_FILE)
        for arm in results["arms"]:
            spread = arm["test_accuracy"]
            lines.append(
                f"| {title} | `{arm['head']}` | {100 * spread['mean']:.2f} ± "
                f"{100 * spread['std']:.2f} % | {compactness[arm['head']]:.2f} | {arm['n']} | "
                f"{arm['head_parameters']:,} |"
            )
        notes.append(_verdict(title, results))
    return "\n".join([*lines, "", *notes])


def _compactness(path: Path) -> dict[str, float]:
    """Mean over runs of the mean cosine of test features with their own class vector."""
    own: dict[str, list[float]] = {}
    for row in read(path):
        own.setdefault(row["head"], []).append(row["geometry"]["own_cosine"]["mean"])
    return {head: sum(values) / len(values) for head, values in own.items()}


def _verdict(title: str, results: dict[str, Any]) -> str:
    """What the paired tests show, after Holm's correction."""
    shown = [pair for pair in results["pairs"] if (pair["p_value"] or 1.0) < 0.05]
    if not shown:
        kind = (
            "no difference between the two is" if len(results["pairs"]) == 1 else "no pair differs"
        )
        tail = "shown" if len(results["pairs"]) == 1 else "beyond chance"
        text = f"- {title}: {kind} {tail} (paired t, Holm, {results['arms'][0]['n']} seeds)."
    else:
        names = "; ".join(_difference(pair) for pair in shown)
        text = f"- {title}: {names}."
    if len(results["pairs"]) == 1:
        text += f" {_difference(results['pairs'][0])}."
    return text


def _difference(pair: dict[str, Any]) -> str:
    mean, (low, high) = pair["difference"]["mean"], pair["difference"]["ci95"]
    return (
        f"`{pair['a']}` − `{pair['b']}` = {100 * mean:+.2f} points, 95 % interval "
        f"{100 * low:+.2f} … {100 * high:+.2f}, p = {pair['p_value']:.2g}"
    )


def _read(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


if __name__ == "__main__":
    main()
