"""Write docs/compiled_path.md from benchmarks/results/scale_native_….json, newest cells first.

Run from the repository's root: python docs/compiled_path.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "compiled_path.md"

NAMES = {
    "plain": "stored matrix, logits held",
    "learned": "learned matrix, its gradient and step",
    "linear_cross_entropy": "torch linear_cross_entropy",
    "stored": "stored matrix, by classes",
    "code": "code, PyTorch",
    "native-avx2": "code, compiled, AVX2",
    "native-portable": "code, compiled, portable",
    "native": "code, compiled",
}

Row = dict[str, Any]

HEAD = """# The compiled path

Codes that are never stored (`vectors=implicit`) have their loss, gradient and largest logits from
one C file, built when fixhead is installed where there is a C compiler, and inside the wheels. It
knows neither Python nor torch. For every row and every few blocks of classes it makes the signs and
the first two levels of a fast Walsh–Hadamard transform by one look-up, the other levels in
registers, e^z, and the way back, in a tile that stays in the first-level cache. AVX-512 and AVX2
are chosen when called; elsewhere the compiler's own vectors serve.

```
fixhead bench paths                    # which path is in use here, and why
FIXHEAD_SCALE_PATH=torch python …      # or native, native-avx512, native-avx2, native-portable
fixhead bench head --classes 1e6 --against plain,native-avx2
```

Only float32 on the CPU takes it (half precision is computed in float32); float64, other devices and
more than 64 largest logits take the PyTorch path, as everything does where the library is missing
or of another version, with one `PerformanceWarning`. Forcing a path that is not there is refused.

`python docs/compiled_path.py` writes this page from the records of
`benchmarks/many_classes_native.py`. A step is forward and the gradient to the features.
"""


def cells() -> dict[str, tuple[dict[str, Any], list[Row]]]:
    """Of every cell its newest record and its rows there."""
    cells: dict[str, tuple[dict[str, Any], list[Row]]] = {}
    for path in sorted(RECORDS.glob("scale_native_*.json"), reverse=True):
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for cell in dict.fromkeys(row["cell"] for row in record["rows"]):
            cells.setdefault(cell, (record, [r for r in record["rows"] if r["cell"] == cell]))
    return cells


def page() -> str:
    parts = [HEAD]
    shown = sorted(cells().values(), key=lambda cell: _place(cell[1]))
    for record, rows in shown:
        memory = [row for row in rows if row["what"] == "memory"]
        parts.append(_steps([row for row in rows if row["what"].startswith("step")], memory))
        parts.append(_largest([row for row in rows if row["what"] == "top-1"]))
        parts.append(_exactness([row for row in rows if row["what"] == "against float64"]))
        parts.append(_kernel([row for row in rows if row["what"] == "kernel"]))
        parts.append(
            f"{record['machine'].replace('cpu (', '').rstrip(')')}, {record['date'][:10]}, commit "
            f"{rows[0].get('commit', record['commit'])[:7]}.\n"
        )
    return "\n".join(part for part in parts if part)


def _place(rows: list[Row]) -> tuple[bool, int, int]:
    """Steps first, by K and d."""
    return not rows[0]["what"].startswith("step"), rows[0]["classes"], rows[0]["features"]


def _steps(rows: list[Row], memory: list[Row]) -> str:
    if not rows:
        return ""
    first = rows[0]
    best = {row["path"]: row["median_ms"] for row in rows}
    lines = [
        f"## A step: K = {first['classes']:,}, d = {first['features']}, N = {first['rows']}\n",
        "| | median ms | least … greatest | first step ms | peak MiB | × compiled |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: -row["median_ms"]):
        peak = row["peak_bytes"]
        lines.append(
            f"| {NAMES.get(row['path'], row['path'])} | {row['median_ms']:.2f} | "
            f"{row['min_ms']:.2f} … {row['max_ms']:.2f} | {row['first_ms']:.1f} | "
            f"{'?' if peak is None else f'{peak / 2**20:.1f}'} | "
            f"{row['median_ms'] / best['native']:.1f} |"
        )
    for row in memory:
        shares = [
            other["peak_bytes"] / row["peak_bytes"] for other in rows if other["path"] == "plain"
        ]
        lines.append(
            f"\nIn {len(row['all_peak_bytes'])} processes of its own the compiled path took at "
            f"least {row['peak_bytes'] / 2**20:.1f} MiB, head, features and gradient included"
            + "".join(f": a {share:,.0f}th of the stored matrix's." for share in shares)
        )
    return "\n".join(lines) + "\n"


def _largest(rows: list[Row]) -> str:
    if not rows:
        return ""
    lines = [
        f"## The largest logit: K = {rows[0]['classes']:,}, d = {rows[0]['features']}\n",
        "| | N | median ms | times faster than a stored matrix |",
        "|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {NAMES.get(row['path'], row['path'])} | {row['rows']} | {row['median_ms']:.3f} | "
            f"{row['ratio_to_plain']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _exactness(rows: list[Row]) -> str:
    if not rows:
        return ""
    first = rows[0]
    lines = [
        "## The gradient against float64\n",
        f"K = {first['classes']:,}, d = {first['features']}, N = {first['rows']}.\n",
        "| | relative error |",
        "|---|---|",
    ]
    for row in rows:
        lines.append(f"| {NAMES.get(row['path'], row['path'])} | {row['gradient_error']:.1e} |")
    return "\n".join(lines) + "\n"


def _kernel(rows: list[Row]) -> str:
    if not rows:
        return ""
    lines = [
        "## The C function alone, and its floor\n",
        "Nanoseconds per logit, K = 100,000. The floor counts the AVX-512 form's arithmetic on",
        "16 logits (at d = 512: 2 for the look-up, 14 levels there and back, 9 for e^z, 4 for the",
        "last two levels, 3 for signs and sum) at two operations a cycle; loads, stores and the",
        "waiting of one level for the other come on top.\n",
        "| form | d | threads | ns per logit | floor | reached |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        floor = row.get("floor_ns")
        share = "| |" if floor is None else f"{floor:.3f} | {floor / row['ns_per_logit']:.0%} |"
        lines.append(
            f"| {row['path'].removeprefix('native-')} | {row['features']} | {row['threads']} | "
            f"{row['ns_per_logit']:.3f} | {share}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
