"""The study of heads: its plan, what a run records, and the page that is computed from the rows."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from fixhead.data.dataset import Dataset, Split
from fixhead.heads.spec import parse_head
from fixhead.training.model import build_classifier

ROOT = Path(__file__).parents[1]


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import right_head

    return right_head


@pytest.fixture
def page(study, monkeypatch):
    spec = importlib.util.spec_from_file_location("right_head_page", ROOT / "docs/right_head.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def row_of(run, score, **more):
    """As the study writes one, as far as the page reads it."""
    return {
        "run": run.key, "setting": run.setting.name, "arm": run.arm.name, "seed": run.seed,
        "learned": run.arm.learned, "loss": run.arm.loss, "status": "done", "lr": 0.1,
        "balanced_accuracy": score, "validation": [score / 2, score],
    } | more  # fmt: skip


def test_every_run_of_the_plan_is_another_one_and_headlines_come_first(study):
    runs = list(study.plan())
    assert len({run.key for run in runs}) == len(runs) >= 400
    headline = {arm.name for arm in study.HEADLINE}
    places = [place for place, run in enumerate(runs) if run.arm.name in headline]
    others = [
        place
        for place, run in enumerate(runs)
        if run.arm.name not in headline and run.arm.loss == "cross-entropy"
    ]
    assert max(places) < min(others)
    assert len({run.setting.name for run in runs}) >= 8


def test_whole_settings_come_one_after_the_other(study):
    seen, before = set(), None
    for run in study.plan():
        block = run.setting.name, run.seed, run.arm in study.FURTHER
        if block != before:
            assert block not in seen
            seen.add(block)
        before = block


@pytest.mark.filterwarnings("ignore::fixhead.heads.init.ReachabilityWarning")
def test_every_arm_can_be_built_in_every_setting_that_it_fits(study):
    sizes = {(one.classes, one.features): one for one in study.SETTINGS if one.classes <= 100}
    arms = {arm.name: arm for arm in (*study.HEADLINE, *study.FURTHER, *study.ON_TAILS)}
    for (classes, features), setting in sizes.items():
        body = study.network(1, features, 8, 0)
        for arm in arms.values():
            if study.fits(arm, setting):
                spec = arm.spec(classes, features)
                assert parse_head(spec).learn_vectors == arm.learned
                counts = list(range(1, classes + 1))
                assert build_classifier(body, spec, classes, counts=counts, seed=0)


def test_the_grid_is_tried_with_the_first_seed_and_kept_for_the_others(study):
    run = study.Run(study.SETTINGS[0], study.DOT, 0)
    later = study.replace(run, seed=2)
    assert study.rates_of(run, {}) == study.RATES
    assert study.rates_of(later, {run.key: {"lr": 0.03}}) == (0.03,)
    assert study.rates_of(later, {}) == study.RATES


def test_a_run_records_its_rates_and_its_test_figures_once(study):
    draws = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 30)
    images = draws.integers(0, 40, (90, 1, 8, 8)) + 70 * labels[:, None, None, None]
    part = Split(images.astype(np.uint8), labels)
    data = Dataset("made", "Made", ("a", "b", "c"), part, part)
    setting = study.Setting("made", "made", 3, 8, 90, 2)
    row = study.perform(study.Run(setting, study.COSINE, 0), data, (0.03, 0.1))
    assert row["status"] == "done"
    assert set(row["rates"]) == {0.03, 0.1}
    assert row["rates"][row["lr"]] == max(row["rates"].values()) == max(row["validation"])
    assert len(row["validation"]) == 2
    assert 0 <= row["balanced_accuracy"] <= 1
    again = study.perform(study.Run(setting, study.COSINE, 0), data, (row["lr"],))
    assert again["balanced_accuracy"] == row["balanced_accuracy"]


def test_effects_are_paired_over_seeds_and_averaged_over_settings(study, page):
    one, other = study.SETTINGS[0], study.SETTINGS[2]
    scores = {(one, 0): (0.5, 0.6), (one, 1): (0.6, 0.8), (other, 0): (0.4, 0.39)}
    done = {}
    for (setting, seed), (dot, cosine) in scores.items():
        for arm, score in ((study.DOT, dot), (study.COSINE, cosine)):
            row = row_of(study.Run(setting, arm, seed), score)
            done.setdefault((setting.name, arm.name), {})[seed] = row
    assert page.difference(done, one.name, study.DOT.name, study.COSINE.name) == pytest.approx(15)
    line = next(line for line in page.effects(done) if "solved scale in place" in line)
    assert "| +7.0 (" in line  # the mean of +15 and −1
    assert "| 1 of 2 | +15.0 (digits) | -1.0 (mnist) |" in line
    table = list(page.headline(done))
    assert "**70.0 ± 14.1**" in table[2]


def test_the_committed_rows_are_runs_of_the_plan(study):
    known = {run.key for run in study.plan()}
    rows = study.read(study.ROWS)
    assert len({row["run"] for row in rows}) == len(rows)
    assert {row["run"] for row in rows} <= known


def test_the_page_and_the_readme_are_what_the_rows_give(page):
    assert page.PAGE.read_text(encoding="utf-8") == page.page()
    text = page.README.read_text(encoding="utf-8")
    assert page.readme(text) == text


def test_auto_is_found_among_the_arms_of_a_setting(study, page):
    by_name = {setting.name: setting for setting in study.SETTINGS}
    for name, learned, arm in (
        ("digits", True, study.COSINE),
        ("cifar10, tail", True, study.replace(study.COSINE, loss=study.LA)),
        ("characters 100", False, study.SPREAD_BN),
        ("tiny-imagenet 200, d 64", False, None),
        ("characters 100, tail", True, None),
    ):
        assert page.arm_of_auto(by_name[name], learned=learned) == arm


def test_what_is_chosen_without_a_setting_does_not_see_it(study, page):
    """The dot arm leads by far where it is left out, the cosine arm elsewhere."""
    left_out, *others = [s for s in study.SETTINGS if s.classes <= s.features and not s.tail]
    done = {}
    for setting in (left_out, *others):
        leads = study.DOT if setting is left_out else study.COSINE
        for arm in (study.DOT, study.COSINE):
            for seed in (0, 1):
                score = 0.9 + seed / 100 if arm is leads else 0.5 + seed / 50
                row = row_of(study.Run(setting, arm, seed), score)
                done.setdefault((setting.name, arm.name), {})[seed] = row
    assert page.chosen_without(done, left_out, learned=True) == study.COSINE.name
    assert page.chosen_without(done, others[0], learned=True) == study.COSINE.name
    said = list(page.held_out(done, learned=True))
    line = next(line for line in said if line.startswith(f"| {left_out.name} |"))
    assert "| learned linear dot | -39.5 (-45.9 … -33.1) |" in line
    assert f"in 1 of {1 + len(others)} settings" in said[-1]
    assert page.points(done, left_out.name, study.DOT.name, study.COSINE.name).worse
