from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixhead.report.pair_text import headline
from fixhead.report.records import ArmWords, ComparisonRecords, matched, parse, read_records
from fixhead.runs.statistics import held_against

Make = Callable[..., Path]
PAIR = ("learned-cosine@1", "random-cosine@1")


def _records(
    make: Make, heads: tuple[str, ...], *values: list[float], **options: object
) -> ComparisonRecords:
    seeds = len(values[0])
    return read_records(
        make(heads=heads, seeds=seeds, accuracies=dict(zip(heads, values, strict=True)), **options)
    )


def _edit(folder: Path, **changes: object) -> ComparisonRecords:
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(results | changes))
    return read_records(folder)


def test_a_claim_says_both_accuracies_the_interval_p_and_the_seeds(make_comparison: Make) -> None:
    records = _records(make_comparison, PAIR, [0.956, 0.959, 0.962], [0.964, 0.966, 0.9685])
    said = headline(records).main
    # By hand: differences of 0.8, 0.7 and 0.65 points, mean 0.717, s = 0.0764, t(2) = 16.25.
    assert said.kind == "claim"
    assert said.text == (
        "Frozen random vectors reached 96.6\u202f% test accuracy against 95.9\u202f% for learned "
        "ones under cosine logits at S = 1 (+0.7 points, 95\u202f% interval +0.5 to +0.9, "
        "p = 0.004, 3 seeds)."
    )


def test_a_worse_frozen_arm_is_said_with_a_minus(make_comparison: Make) -> None:
    said = headline(_records(make_comparison, PAIR, [0.970, 0.969, 0.971], [0.950, 0.951, 0.950]))
    assert said.main.kind == "claim"
    assert "(−2.0 points, 95\u202f% interval −2." in said.main.text


def test_an_interval_that_holds_zero_shows_no_difference(make_comparison: Make) -> None:
    said = headline(_records(make_comparison, PAIR, [0.95, 0.96, 0.97], [0.97, 0.95, 0.97])).main
    assert said.kind == "open"
    assert said.text.startswith("No difference is shown: frozen random vectors reached 96.3\u202f%")


def test_older_results_without_a_baseline_lead_with_a_matched_pair(make_comparison: Make) -> None:
    heads = (*PAIR, "simplex", "hadamard", "orthonormal")
    noise = [[0.95, 0.96, 0.97], [0.96, 0.955, 0.975], [0.97, 0.95, 0.96]]
    values = [[0.956, 0.959, 0.962], [0.965, 0.964, 0.968], *noise]
    folder = make_comparison(heads=heads, accuracies=dict(zip(heads, values, strict=True)))
    results = json.loads((folder / "results.json").read_text())
    del results["against"]
    (folder / "results.json").write_text(json.dumps(results))
    said = headline(read_records(folder)).main
    assert said.kind == "open"
    assert "a difference that does not outlast the correction for 10 tests" in said.text
    assert "Holm-corrected p" in said.text


MANY = ("learned-dot", "random-dot", "learned-cosine@20", "simplex", "hadamard", "orthonormal")
NEAR = {head: [0.45 + place / 500, 0.46, 0.47 - place / 900] for place, head in enumerate(MANY)}


def _finding(make: Make, **options: object) -> tuple[str, str]:
    said = headline(read_records(make(heads=MANY, **options))).main
    return said.kind, said.text


def test_one_strong_effect_among_many_arms_leads(make_comparison: Make) -> None:
    values = NEAR | {"learned-cosine@20": [0.671, 0.684, 0.690]}
    kind, text = _finding(make_comparison, accuracies=values)
    assert kind == "claim"
    assert text.startswith(
        "learned-cosine@20 reached 68.2\u202f% test accuracy against 46.0\u202f%"
    )
    assert "for learned-dot (+22.2 points, 95\u202f% interval +" in text
    assert "Dunnett p < 0.001, 3 seeds" in text


def test_a_second_head_that_differs_is_counted(make_comparison: Make) -> None:
    values = NEAR | {"learned-cosine@20": [0.671, 0.684, 0.690], "simplex": [0.35, 0.36, 0.38]}
    assert (
        "; 1 more of 5 differ from learned-dot" in _finding(make_comparison, accuracies=values)[1]
    )


def test_without_a_shown_difference_the_page_says_what_could_have_been(
    make_comparison: Make,
) -> None:
    values = {head: [0.45 + (7 * place % 5) / 100, 0.46, 0.43] for place, head in enumerate(MANY)}
    folder = make_comparison(heads=MANY, accuracies=values)
    said = headline(read_records(folder)).main
    held = json.loads((folder / "results.json").read_text())["against"]
    assert said.kind == "open"
    assert said.text.startswith("No difference from learned-dot is shown: the largest is between ")
    assert f"about {100 * held['detectable']:.1f} points could have been shown" in said.text


def test_on_a_tail_the_finding_is_of_balanced_accuracy(make_comparison: Make) -> None:
    folder = make_comparison(heads=MANY)
    arms = json.loads((folder / "results.json").read_text())["arms"]
    for place, arm in enumerate(arms):
        values = [0.41 + place / 700, 0.42, 0.436] if place != 3 else [0.64, 0.651, 0.655]
        arm["balanced_accuracy"] |= {"mean": sum(values) / 3, "values": values}
    held = held_against(arms, "balanced_accuracy", "learned-dot")
    records = _edit(folder, metric="balanced_accuracy", arms=arms, against=held)
    said = headline(records).main
    assert said.kind == "claim"
    assert said.text.startswith("simplex reached 64.9\u202f% balanced test accuracy against 42.2")


def test_one_seed_claims_nothing_about_many_arms(make_comparison: Make) -> None:
    values = {head: numbers[:1] for head, numbers in NEAR.items()}
    kind, text = _finding(make_comparison, accuracies=values, seeds=1)
    assert kind == "none"
    assert text.startswith("Nothing is claimed: 1 paired seed where a claim needs 3.")


def test_a_head_with_too_few_runs_does_not_silence_the_others(make_comparison: Make) -> None:
    values = NEAR | {"learned-cosine@20": [0.671, 0.684, 0.690]}
    failed = ("hadamard-seed0", "hadamard-seed1")
    kind, text = _finding(make_comparison, accuracies=values, failed=failed)
    assert kind == "claim"
    assert text.startswith("learned-cosine@20 reached")


def test_auto_is_named_with_what_it_chose_and_why() -> None:
    arm = ArmWords(
        "auto",
        *("auto", "cosine", "auto", False),
        chosen="nonnegative_orthogonal",
        because="K <= d",
    )
    assert arm.named == "auto (frozen non-negative orthogonal vectors, because K <= d)"
    assert arm.description.startswith("frozen non-negative orthogonal vectors, because K <= d; ")


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_claim_nothing(make_comparison: Make, seeds: int) -> None:
    said = headline(_records(make_comparison, PAIR, [0.5, 0.51][:seeds], [0.9, 0.92][:seeds])).main
    assert said.kind == "none"
    assert said.text.startswith("Nothing is claimed: ")
    assert "p =" not in said.text
    assert "interval" not in said.text
    assert "Measured: frozen random vectors 9" in said.text


def test_the_records_may_forbid_claims(make_comparison: Make) -> None:
    folder = make_comparison(heads=PAIR, accuracies={PAIR[0]: [0.5] * 3, PAIR[1]: [0.9, 0.91, 0.9]})
    assert headline(read_records(folder)).main.kind == "claim"
    without = headline(_edit(folder, claims=False, against=None))
    assert without.main.kind == "none"


def test_equal_differences_have_no_test_and_no_claim(make_comparison: Make) -> None:
    said = headline(_records(make_comparison, PAIR, [0.5, 0.5, 0.5], [0.75, 0.75, 0.75])).main
    assert said.kind == "none"
    assert "no test is defined" in said.text


def test_means_are_over_the_seeds_that_both_arms_finished(make_comparison: Make) -> None:
    records = _records(
        make_comparison,
        PAIR,
        [0.90, 0.92, 0.91, 0.10],
        [0.95, 0.96, 0.955, 0.97],
        failed=("random-cosine@1-seed3",),
    )
    assert "91.0\u202f% for learned ones" in headline(records).main.text


def test_one_arm_alone_compares_nothing(make_comparison: Make) -> None:
    said = headline(_records(make_comparison, ("simplex",), [0.96, 0.97, 0.98])).main
    assert said.text == (
        "simplex reached 97.0 ± 1.0\u202f% test accuracy (3 seeds); it ran alone, so nothing is "
        "compared."
    )


def test_no_finished_run_has_no_result(make_comparison: Make) -> None:
    records = read_records(make_comparison(heads=("simplex",), seeds=1, failed=("simplex-seed0",)))
    assert "no result" in headline(records).main.text


def test_without_a_matched_pair_the_best_is_held_against_what_everyone_uses(
    make_comparison: Make,
) -> None:
    heads = ("learned-dot", "simplex", "hadamard")
    said = headline(
        _records(make_comparison, heads, [0.90, 0.91, 0.92], [0.96, 0.97, 0.982], [0.93, 0.9, 0.93])
    )
    assert said.main.text.startswith("simplex reached 97.1\u202f% test accuracy against 91.0")
    assert said.also[0].text.startswith("Highest mean of 3 heads: simplex, ")


def test_matched_pairs_with_the_same_words_are_told_apart_by_name(make_comparison: Make) -> None:
    heads = ("learned-dot", "learned-dot:paired", "random-dot")
    said = headline(read_records(make_comparison(heads=heads)))
    texts = " ".join(one.text for one in (said.main, *said.also))
    assert "(learned-dot:paired)" in texts
    assert "(learned-dot)" in texts


def test_balanced_accuracy_is_called_so(make_comparison: Make) -> None:
    folder = make_comparison(heads=PAIR)
    assert "balanced test accuracy" in headline(_edit(folder, metric="balanced_accuracy")).main.text


def test_heads_are_matched_when_only_learning_differs() -> None:
    frozen = parse("a", "vectors=random,logits=cosine,scale=1,bias=no,learn=no")
    learned = parse("b", "vectors=random,logits=cosine,scale=1,bias=no,learn=yes")
    other_scale = parse("c", "vectors=random,logits=cosine,scale=20,bias=no,learn=yes")
    simplex = parse("d", "vectors=simplex,logits=cosine,scale=1,bias=no,learn=no")
    assert matched(frozen, learned)
    assert matched(learned, frozen)
    assert not matched(frozen, other_scale)
    assert not matched(simplex, learned)
    assert not matched(frozen, parse("e", None))


def test_a_head_without_a_sentence_keeps_its_name() -> None:
    assert parse("mine", "something else").phrase == "mine"
    assert parse("mine", None).description == ""


def test_heads_within_the_margin_are_called_practically_equal(make_comparison: Make) -> None:
    values = {
        head: [0.90 + place % 2 * 1e-4, 0.91, 0.92 + place % 3 * 1e-4]
        for place, head in enumerate(MANY)
    }
    said = headline(read_records(make_comparison(heads=MANY, accuracies=values))).main
    assert said.kind == "open"
    start = f"Practically equal: all {len(MANY) - 1} heads and learned-dot differ by less than 1 "
    assert said.text.startswith(start)
    assert "at most " in said.text
