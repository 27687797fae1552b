"""results.json from made records, against scipy and numpy."""

import numpy as np
import pytest
from scipy import stats

from fixhead import RequestError
from fixhead.comparison import Comparison
from fixhead.comparison.job import baseline_of, summarise, what_shows
from fixhead.runs.statistics import detectable

HEADS = ("learned-dot", "simplex", "hadamard")
ACCURACY = {
    "learned-dot": [0.90, 0.92, 0.91, 0.95],
    "simplex": [0.93, 0.94, 0.95, 0.96],
    "hadamard": [0.91, 0.90, 0.92, 0.93],
}


def record(head, seed, accuracy, status="done", **more):
    """A run's record, as far as the summary reads it."""
    done = status == "done"
    return {
        "run_id": f"{head}-seed{seed}",
        "head": head,
        "seed": seed,
        "status": status,
        "error": None if done else "Traceback …\nValueError: broke",
        "config": {"lr": 0.1, "choose_on": "accuracy"},
        "test_accuracy": accuracy if done else None,
        "val_accuracy": accuracy + 0.01 if done else None,
        "last_epoch_accuracy": accuracy - 0.01 if done else None,
        "balanced_accuracy": accuracy - 0.02 if done else None,
        "test_loss": 1 - accuracy if done else None,
        "trainable_parameters": 1000 if done else None,
        "head_parameters": 10 if done else None,
        "head_bytes": 120 if done else None,
    } | more


def comparison(heads=HEADS, seeds=4, **more):
    return Comparison(heads=heads, seeds=seeds, **more)


def records(accuracy=ACCURACY):
    """In the order in which several processes may have finished them."""
    made = [record(head, seed, a) for head, all_ in accuracy.items() for seed, a in enumerate(all_)]
    return made[::-1]


def test_arms_hold_mean_sample_deviation_values_and_seeds_in_the_order_of_the_seeds():
    results = summarise(comparison(), records())
    assert [arm["head"] for arm in results["arms"]] == list(HEADS)
    for arm in results["arms"]:
        values = np.array(ACCURACY[arm["head"]])
        for name, shift in (("test_accuracy", 0.0), ("val_accuracy", 0.01)):
            assert arm[name]["mean"] == pytest.approx(np.mean(values + shift))
            assert arm[name]["std"] == pytest.approx(np.std(values + shift, ddof=1))
            assert arm[name]["values"] == pytest.approx((values + shift).tolist())
            assert arm[name]["seeds"] == [0, 1, 2, 3]
        assert (arm["n"], arm["failed"], arm["head_bytes"]) == (4, 0, 120)


def test_every_pair_has_the_paired_t_test_and_interval_of_scipy():
    pairs = summarise(comparison(), records())["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [
        ("learned-dot", "simplex"), ("learned-dot", "hadamard"), ("simplex", "hadamard"),
    ]  # fmt: skip
    for pair in pairs:
        theirs = stats.ttest_rel(ACCURACY[pair["a"]], ACCURACY[pair["b"]])
        interval = theirs.confidence_interval(0.95)
        assert pair["n"] == 4
        assert pair["p_value_raw"] == pytest.approx(theirs.pvalue)
        assert pair["difference"]["ci95"] == pytest.approx([interval.low, interval.high])
        difference = np.subtract(ACCURACY[pair["a"]], ACCURACY[pair["b"]])
        assert pair["difference"]["mean"] == pytest.approx(difference.mean())


def test_p_values_are_corrected_by_holm_over_all_pairs():
    pairs = summarise(comparison(), records())["pairs"]
    raw = np.array([pair["p_value_raw"] for pair in pairs])
    expected, largest = np.empty(3), 0.0
    for rank, place in enumerate(np.argsort(raw)):  # by the definition
        largest = max(largest, min(1.0, (3 - rank) * raw[place]))
        expected[place] = largest
    assert [pair["p_value"] for pair in pairs] == pytest.approx(expected.tolist())


def test_pairs_are_over_the_seeds_that_both_arms_finished():
    rows = records()
    broken = next(row for row in rows if row["run_id"] == "simplex-seed2")
    broken |= record("simplex", 2, 0.0, "failed")
    results = summarise(comparison(), rows)
    pair = results["pairs"][0]
    kept = [0, 1, 3]
    theirs = stats.ttest_rel(*(np.array(ACCURACY[name])[kept] for name in HEADS[:2]))
    assert pair["n"] == 3
    assert pair["p_value_raw"] == pytest.approx(theirs.pvalue)
    arm = results["arms"][1]
    assert (arm["n"], arm["failed"], arm["test_accuracy"]["seeds"]) == (3, 1, kept)
    assert "1 of 12 runs failed; see their errors below." in results["notes"]


def test_an_arm_whose_every_run_failed_has_no_figures_and_no_pairs():
    rows = [record("simplex", seed, 0.0, "failed") for seed in range(4)]
    rows += [row for row in records() if row["head"] == "learned-dot"]
    results = summarise(comparison(HEADS[:2]), rows)
    assert results["arms"][1]["test_accuracy"] == {
        "mean": None, "std": None, "values": [], "seeds": [],
    }  # fmt: skip
    assert results["arms"][1]["head_bytes"] is None
    assert results["pairs"] == []
    assert results["claims"] is False


@pytest.mark.parametrize(("seeds", "claims"), [(1, False), (2, False), (3, True), (4, True)])
def test_fewer_than_three_paired_seeds_support_no_claim_and_a_note_says_so(seeds, claims):
    rows = [row for row in records() if row["seed"] < seeds]
    results = summarise(comparison(seeds=seeds), rows)
    assert results["claims"] is claims
    assert any("Fewer than 3 seeds" in note for note in results["notes"]) is not claims


def test_unequal_classes_are_compared_on_balanced_accuracy_with_their_groups():
    tail = {
        "imbalance": "exp:0.1",
        "class_counts": [100, 20, 10],
        "groups": {"many": [0], "medium": [1], "few": [2]},
        "config": {"lr": 0.1, "choose_on": "balanced_accuracy"},
    }
    rows = [
        record(
            row["head"], row["seed"], row["test_accuracy"], **tail,
            group_accuracy={"many": 0.9, "medium": 0.5, "few": 0.1 * row["seed"]},
        )
        for row in records()
    ]  # fmt: skip
    results = summarise(comparison(imbalance="exp:0.1"), rows)
    assert results["metric"] == "balanced_accuracy"
    few = results["arms"][0]["group_accuracy"]["few"]
    assert few["mean"] == pytest.approx(0.15)
    assert few["std"] == pytest.approx(np.std([0, 0.1, 0.2, 0.3], ddof=1))
    assert "100 to 10 images" in results["notes"][0]
    assert results["class_counts"] == [100, 20, 10]


def test_the_notes_say_how_learning_rates_were_chosen_and_what_scale_one_cannot_reach():
    plain = summarise(comparison(), records())["notes"]
    assert any("one learning rate (0.1)" in note for note in plain)
    tuned = summarise(comparison(tune=(0.01, 0.1)), records())["notes"]
    assert any("the same grid (0.01, 0.1)" in note for note in tuned)
    cosine = comparison(heads=("random-cosine", "simplex"))
    rows = [record(head, 0, 0.5) for head in cosine.heads]
    assert any("scale 1" in note for note in summarise(cosine, rows)["notes"])
    assert not any("scale 1" in note for note in plain)


def test_the_order_of_the_records_changes_nothing():
    rows = records()
    assert summarise(comparison(), rows) == summarise(comparison(), rows[::2] + rows[1::2])


def test_every_other_arm_is_held_against_the_first_learned_one():
    held = summarise(comparison(), records())["against"]
    assert (held["baseline"], held["n"], held["test"]) == ("learned-dot", 4, "dunnett")
    assert [arm["head"] for arm in held["arms"]] == ["simplex", "hadamard"]
    table = np.array([ACCURACY[head] for head in HEADS])
    residuals = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    error = np.sqrt(np.square(residuals).sum() / 6 * 2 / 4)
    t = (table[1].mean() - table[0].mean()) / error
    pair = stats.multivariate_t(shape=[[1, 0.5], [0.5, 1]], df=6, seed=0)
    inside = pair.cdf([t, t], lower_limit=[-t, -t])
    assert held["arms"][0]["p_value"] == pytest.approx(1 - inside, abs=1e-3)


def test_a_baseline_may_be_asked_for_and_must_be_an_arm():
    held = summarise(comparison(), records(), "hadamard")["against"]
    assert held["baseline"] == "hadamard"
    assert [arm["head"] for arm in held["arms"]] == ["learned-dot", "simplex"]
    with pytest.raises(RequestError, match="--baseline must be one of the heads here"):
        summarise(comparison(), records(), "cube")


def test_the_margin_of_practical_equality_is_asked_for_and_said():
    wide, narrow = (
        summarise(comparison(), records(), None, None, margin)["against"] for margin in (0.9, 1e-6)
    )
    assert (wide["margin"], narrow["margin"]) == (0.9, 1e-6)
    assert all(arm["practically_equal"] for arm in wide["arms"])
    assert not any(arm["practically_equal"] for arm in narrow["arms"])
    assert summarise(comparison(), records())["against"]["margin"] == 0.01


def test_frozen_arms_alone_are_held_against_the_first():
    assert baseline_of(("simplex", "hadamard")) == "simplex"
    assert baseline_of(("simplex", "learned-cosine@auto", "learned-dot")) == "learned-cosine@auto"


def test_arms_with_too_few_runs_are_left_out_and_named():
    rows = [row for row in records() if not (row["head"] == "simplex" and row["seed"] < 2)]
    held = summarise(comparison(), rows)["against"]
    assert [arm["head"] for arm in held["arms"]] == ["hadamard"]
    assert held["left_out"] == ["simplex"]


def test_one_failed_run_takes_its_seed_out_of_every_comparison():
    rows = [row for row in records() if row["run_id"] != "simplex-seed2"]
    held = summarise(comparison(), rows)["against"]
    assert (held["n"], held["left_out"]) == (3, [])


def test_more_seeds_show_more_and_one_arm_shows_nothing():
    shows = what_shows(6, 3)
    assert shows["difference"] == pytest.approx(detectable(0.01, 6, 3))
    assert detectable(0.01, 6, shows["seeds_for_half"]) <= shows["difference"] / 2
    assert what_shows(6, 2) is None
    assert what_shows(1, 3) is None
