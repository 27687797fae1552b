"""The class browser's cards, from made-up records and pictures."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fixhead.report import write_page
from fixhead.report.comparison_charts import confusions
from fixhead.report.records import read_records

Make = Callable[..., Path]
PAIR = ("learned-cosine@1", "random-cosine@1")
COLUMNS, SIDE = 4, 8


def picture_confusions(folder: Path) -> Path:
    """Give every run of a made-up comparison pictures of its worst confusions."""
    path = folder / "runs.jsonl"
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    for run in runs:
        counts = (run["geometry"] or {}).get("confusion")
        if counts:
            run["examples"] = _examples(folder, run["run_id"], np.array(counts))
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    return folder


def _examples(folder: Path, run_id: str, counts: np.ndarray) -> dict[str, Any]:
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:24]
    pairs: list[dict[str, Any]] = []
    for label, other in zip(*np.unravel_index(order, counts.shape), strict=True):
        if counts[label, other]:
            pairs.append(
                {"label": int(label), "taken_for": int(other), "images": 36,
                 "count": int(counts[label, other]), "tiles": [len(pairs)]}
            )  # fmt: skip
    number = len(pairs) + 1
    rows = -(-number // COLUMNS)
    pixels = np.random.default_rng(0).integers(0, 255, (rows * SIDE, COLUMNS * SIDE), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True)
    file = f"runs/{run_id}/examples.webp"
    (folder / file).write_bytes(out.getvalue())
    first = str(pairs[0]["taken_for"]) if pairs else "0"
    return {
        "file": file, "tile": SIDE, "columns": COLUMNS, "number": number, "pairs": pairs,
        "classes": {first: number - 1},
    }  # fmt: skip


def _cards(text: str) -> list[str]:
    return re.findall(r'<li data-classes="\d+ \d+">.*?</li>', text, re.S)


def test_every_pair_of_the_record_has_a_card_with_its_pictures(make_comparison: Make) -> None:
    folder = picture_confusions(make_comparison(heads=PAIR, seeds=1))
    records = read_records(folder)
    section = confusions(records)
    assert section is not None
    cards = _cards(section.body)
    wanted = [pair for head in PAIR for pair in records.of(head)[0]["examples"]["pairs"]]
    assert len(cards) == len(wanted) > 10
    for card, pair in zip(cards, wanted, strict=True):
        assert f'data-classes="{pair["label"]} {pair["taken_for"]}"' in card
        assert f">{pair['count']} of 36 (" in card
        assert card.count("role=") == 1 + ("put right" in card)
    assert section.body.count("data:image/webp") == 2


def test_without_pictures_the_counts_serve(make_comparison: Make) -> None:
    folder = picture_confusions(make_comparison(heads=PAIR, seeds=1))
    pictured = _cards(confusions(read_records(folder)).body)
    for sheet in folder.glob("runs/*/examples.webp"):
        sheet.unlink()
    bare = _cards(confusions(read_records(folder)).body)
    assert len(bare) == len(pictured)
    assert all('role="img"' not in card for card in bare)


def test_records_of_an_earlier_version_have_cards_without_pictures(make_comparison: Make) -> None:
    section = confusions(read_records(make_comparison(heads=PAIR, seeds=1)))
    assert section is not None
    found = re.findall(r"below\">([\d\u202f]+) of", section.body)
    counts = [int(number.replace("\u202f", "")) for number in found]
    half = len(counts) // 2
    assert counts[:half] == sorted(counts[:half], reverse=True)


def test_without_confusions_there_is_no_such_section(make_comparison: Make) -> None:
    assert confusions(read_records(make_comparison(seeds=1, matrices=False))) is None


def test_a_record_cannot_point_out_of_its_folder(make_comparison: Make, tmp_path: Path) -> None:
    folder = picture_confusions(make_comparison(heads=PAIR[:1], seeds=1))
    (tmp_path / "secret").write_text("secret")
    text = (folder / "runs.jsonl").read_text()
    name = f"runs/{PAIR[0]}-seed0/examples.webp"
    (folder / "runs.jsonl").write_text(text.replace(name, "../secret"))
    page = write_page(folder).read_text(encoding="utf-8")
    assert "data:image/webp" not in page
