"""The page of an evaluation, from a record made up for the tests (measured by nobody)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixhead import RequestError
from fixhead.report import write_evaluation_page, write_pages
from fixhead.report.evaluation_page import headline
from fixhead.report.records import read_evaluation

Make = Callable[..., Path]
PAIR = ("learned-cosine@1", "random-cosine@1")


def evaluated_folder(folder: Path, *, also: bool = True) -> Path:
    """Give a made-up comparison's folder the evaluation.json that its models would have."""
    runs = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    rng = np.random.default_rng(0)
    models = [_model(run, rng) for run in runs if run["status"] == "done"]
    heads = list(dict.fromkeys(model["head"] for model in models))
    found = {
        "schema": "fixhead.evaluation/1", "fixhead": "0.1.0", "data": "generated-test-data",
        "title": "Generated test data", "notes": ["Nobody measured these numbers."],
        "part": "test", "classes": runs[0]["classes"], "models": models, "corruptions": None,
        "also": [_also(heads)] if also else [],
        "outside": [_outside(models)] if also else [],
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(found, allow_nan=False))
    return folder


def _model(run: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    edges = np.linspace(0, 1, 16)
    confidence = ((edges[1:] + edges[:-1]) / 2).tolist()
    names = ("nc1", "trace_ratio", "cdnv", "equinorm", "equiangularity_std",
             "equiangularity_deviation", "self_duality", "gram_distance")  # fmt: skip
    compact = ("own", "own_right", "own_wrong", "predicted", "predicted_wrong", "norm",
               "norm_right", "norm_wrong", "norm_std", "separability")  # fmt: skip
    return {
        "name": run["run_id"], "head": run["head"], "seed": run["seed"], "backbone": "small-cnn",
        "head_sentence": run["head_sentence"], "images": 360,
        "accuracy": run["test_accuracy"], "loss": run["test_loss"],
        "balanced_accuracy": run["balanced_accuracy"], "macro_f1": run["macro_f1"],
        "per_class_accuracy": run["per_class_accuracy"], "group_accuracy": None,
        "calibration": {
            "bins": 15, "expected_error": 0.02, "maximum_error": 0.1,
            "share": [0.0] * 10 + [0.2] * 5, "confidence": [None] * 10 + confidence[10:],
            "accuracy": [None] * 10 + [float(v) for v in rng.uniform(0.6, 1, 5)],
        },
        "collapse": {"of": "directions", "alignment": 0.8, "nearest_mean_agreement": 0.99}
        | {name: float(rng.uniform(0, 1)) for name in names},
        "compactness": {name: float(rng.uniform(0, 1)) for name in compact},
        "never_predicted": [], "areas": None, "geometry": run["geometry"],
        "per_class": {
            name: [float(v) for v in rng.uniform(0, 1, len(run["classes"]))]
            for name in ("accuracy", "f1", "cdnv", "own")
        },
        "groups": {name: _group(rng) for name in ("many", "few")},
        "projections": _projections(run, rng),
        "examples": run.get("examples"),
        "trained_with": {name: run[name] for name in ("neck", "loss", "config")},
    }  # fmt: skip


def _group(rng: np.random.Generator) -> dict[str, Any]:
    names = ("accuracy", "f1", "calibration_error", "own", "separability", "trace_ratio", "cdnv",
             "alignment", "nearest_mean_agreement")  # fmt: skip
    found: dict[str, Any] = {name: float(rng.uniform(0, 1)) for name in names}
    return found | {"classes": 5, "spearman": {"rho": 0.25}}


def _projections(run: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    labels = rng.integers(0, len(run["classes"]), 60)
    told = np.where(rng.random(60) < 0.2, 0, labels)
    views = [
        {
            "method": method, "kept": kept, "origin": origin,
            "points": rng.normal(size=(60, 2)).round(3).tolist(),
            "vectors": rng.normal(size=(len(run["classes"]), 2)).round(3).tolist(),
        }
        for method, kept, origin in (
            ("class-plane", 0.4, [0.0, 0.0]), ("pca", 0.7, [0.2, 0.1]), ("tsne", None, None)
        )
    ]  # fmt: skip
    return {
        "of": "directions",
        "labels": labels.tolist(),
        "predictions": told.tolist(),
        "views": views,
    }


def _also(heads: list[str]) -> dict[str, Any]:
    drop = {"value": 0.1, "low": 0.05, "high": 0.15}
    return {
        "name": "harder", "title": "A harder set", "images": 100, "notes": [],
        "baseline": heads[0],
        "arms": [
            {"head": head, "n": 1, "test_accuracy": 0.9, "accuracy": 0.8, "drop": drop,
             "drop_against_baseline": drop if place else None}
            for place, head in enumerate(heads)
        ],
    }  # fmt: skip


def _outside(models: list[dict[str, Any]]) -> dict[str, Any]:
    scores = {name: {"auroc": 0.8, "fpr_at_95": 0.5} for name in ("largest_cosine", "energy")}
    return {
        "name": "other", "title": "Another set", "images": 50,
        "models": [{"name": m["name"], "head": m["head"], **scores} for m in models],
    }  # fmt: skip


def test_every_figure_of_the_record_has_its_place_on_the_page(make_comparison: Make) -> None:
    folder = evaluated_folder(make_comparison(heads=PAIR, seeds=2))
    page = write_evaluation_page(folder)
    text = page.read_text(encoding="utf-8")
    assert page.name == "evaluation.html"
    wanted = (
        "accuracy", "collapse", "vectors", "features", "compactness", "views", "calibration",
        "also", "outside", "classes", "groups", "confused",
    )  # fmt: skip
    assert [name for name in wanted if f'<section id="{name}"' not in text] == []
    found = json.loads((folder / "evaluation.json").read_text())
    nc1 = np.mean([m["collapse"]["nc1"] for m in found["models"] if m["head"] == PAIR[0]])
    assert f"<span>{nc1:.3f}<span" in text
    assert "A harder set" in text
    assert "Nobody measured these numbers." in text


def test_the_headline_gives_the_spread_of_heads_and_claims_nothing(make_comparison: Make) -> None:
    folder = evaluated_folder(
        make_comparison(heads=PAIR, seeds=1, accuracies={PAIR[0]: [0.9], PAIR[1]: [0.95]})
    )
    said = headline(read_evaluation(folder))
    assert said.startswith("Between 90.00")
    assert "(learned-cosine@1) and 95.00" in said
    text = write_evaluation_page(folder).read_text(encoding="utf-8")
    assert "described, not compared" in text


def test_collapse_has_a_row_per_measure_by_its_full_name_and_a_column_per_head(
    make_comparison: Make,
) -> None:
    folder = evaluated_folder(make_comparison(heads=PAIR, seeds=2))
    text = write_evaluation_page(folder).read_text(encoding="utf-8")
    table = text.split('id="table-collapse-measures"')[1].split("</table>")[0]
    heads = re.findall(r'role="columnheader"[^>]*><span>(.*?)</span>', table)
    assert heads == ["Measure", *PAIR]
    rows = re.findall(r'role="rowheader"[^>]*>(.*?)</th>', table)
    assert "NC2: deviation from equal angles" in rows
    assert len(rows) == len(set(rows)) == 10


def test_the_recipe_of_every_head_is_printed_from_its_training(make_comparison: Make) -> None:
    folder = evaluated_folder(make_comparison(heads=PAIR, seeds=2))
    record = json.loads((folder / "evaluation.json").read_text())
    for model in record["models"]:
        decay = 0.0 if "cosine" in model["head"] and model["head"] == PAIR[1] else 5e-4
        model["trained_with"]["config"] |= {"weight_decay": decay, "batch_size": 64}
    (folder / "evaluation.json").write_text(json.dumps(record))
    text = write_evaluation_page(folder).read_text(encoding="utf-8")
    section = text.split('<section id="training"')[1].split("</section>")[0]
    table = section.split("</table>")[0]
    assert "Weight decay" in table
    assert table.index(">0.0005<") < table.index(">0.0<")
    assert "Images in a step" in section.split("</table>")[1]
    assert "batch_size" not in section


def test_one_model_is_told_alone(make_comparison: Make) -> None:
    folder = evaluated_folder(
        make_comparison(heads=PAIR[:1], seeds=1, accuracies={PAIR[0]: [0.9]}), also=False
    )
    assert headline(read_evaluation(folder)).startswith("90.00")
    text = write_evaluation_page(folder).read_text(encoding="utf-8")
    assert '<section id="also"' not in text
    assert "described, not compared" not in text


def test_report_rebuilds_whatever_pages_the_records_give(make_comparison: Make) -> None:
    folder = evaluated_folder(make_comparison(heads=PAIR, seeds=1))
    both = write_pages(folder)
    assert [path.name for path in both] == ["report.html", "evaluation.html"]
    first = both[1].read_bytes()
    for name in ("config.json", "results.json", "runs.jsonl"):
        (folder / name).unlink()
    again = write_pages(folder)
    assert [path.name for path in again] == ["evaluation.html"]
    assert again[0].read_bytes() == first


@pytest.mark.parametrize("text", ['{"schema": "other"}', "{", '{"loss": NaN}'])
def test_a_record_that_is_none_is_refused_and_the_old_page_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluation.json").write_text(text)
    (tmp_path / "evaluation.html").write_text("old")
    with pytest.raises(RequestError, match=r"evaluation\.json"):
        write_evaluation_page(tmp_path)
    assert (tmp_path / "evaluation.html").read_text() == "old"
