"""The script for a lent card: its plan, its limits, what it carries, and a rehearsal on the CPU."""

import json
import re
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def card(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import on_a_card

    return on_a_card


def python(code):
    return lambda trip: [sys.executable, "-c", code]


def test_a_dry_run_prints_every_step_with_its_seconds_and_runs_nothing(card, tmp_path, capsys):
    out = tmp_path / "trip"
    assert card.main(["--dry-run", "--out", str(out)]) == 0
    rows = re.findall(
        r"^\| `([^`]+)` \| .* \| ([\d,]+) \| ([\d,]+) \|$", capsys.readouterr().out, re.M
    )
    assert [name for name, _, _ in rows][:5] == ["cuda-tests", "walk", "pace", "table2", "table1"]
    assert [name for name, _, _ in rows][-3:] == ["yang", "hoffer", "delacalle"]
    seconds = [int(about.replace(",", "")) for _, about, _ in rows]
    assert all(one > 0 for one in seconds)
    assert int(rows[-1][2].replace(",", "")) == pytest.approx(sum(seconds), abs=len(rows))
    assert not out.exists()


def test_estimates_are_made_of_the_recorded_pace(card):
    record = card.records.newest("training_throughput_cuda_*.json")
    pace = min(row["images_per_second"] for row in record["rows"] if row["loop"] == "fixhead")
    expected = card.START_S + 6 * 80 * 45_000 / pace
    assert {one.name: one.seconds for one in card.steps()}["table2"] == pytest.approx(expected)


def test_the_trainings_are_the_papers_but_for_the_batch(card):
    trip = card.Trip(Path("trip"))
    [(_, table2)] = card.comparisons("table2", trip)
    training = table2.recipe
    assert (training.epochs, training.schedule, training.weight_decay) == (80, "plateau", 0.0)
    assert (training.batch_size, table2.data, table2.seeds) == (1024, "cifar10-jpeg", 3)
    assert table2.heads == ("random-cosine@1", "learned-cosine@1")
    [(_, table1)] = card.comparisons("table1", trip)
    assert table1.heads == ("random-dot", "learned-dot:paired")
    assert (table1.tune, table1.recipe.weight_decay) == ((0.1, 0.01), 5e-4)
    [(_, hoffer)] = card.comparisons("hoffer", trip)
    assert (hoffer.recipe.epochs, hoffer.choose, len(hoffer.heads)) == (200, "last", 3)
    rates = [one.recipe.lr for _, one in card.comparisons("sweep", trip)]
    assert rates == [0.1, 1.0, 10.0]


def test_a_step_is_cut_at_its_limit_and_goes_on_the_next_time(card, tmp_path):
    growing = (
        "import pathlib, time; file = pathlib.Path(r'%s'); "
        "n = len(file.read_text()) if file.exists() else 0; "
        "file.write_text('x' * (n + 1)); time.sleep(60 if n == 0 else 0)" % (tmp_path / "count")
    )
    steps = [
        card.CardStep("slow", "Slow", python(growing), 1, limit_s=3),
        card.CardStep("broken", "Broken", python("raise SystemExit(3)"), 1),
        card.CardStep("fine", "Fine", python("print('well')"), 1),
    ]
    trip = card.Trip(tmp_path / "trip")
    start = time.monotonic()
    first = card.run_steps(trip, steps, 60)
    assert time.monotonic() - start < 40
    assert [first[one.name]["state"] for one in steps] == ["cut", "failed", "done"]
    assert first["broken"]["status"] == 3
    assert (trip.out / "fine.log").read_text() == "well\n"
    second = card.run_steps(trip, steps, 60)
    assert [second[one.name]["state"] for one in steps] == ["done", "failed", "done"]
    assert (trip.out / "fine.log").read_text() == "well\n"
    assert json.loads((trip.out / card.STATE).read_text()) == second


def test_no_step_begins_when_the_time_is_over(card, tmp_path):
    step = card.CardStep("late", "Late", python("print(1)"), 1)
    states = card.run_steps(card.Trip(tmp_path), [step], 0)
    assert states == {"late": {"state": "waiting"}}
    assert not (tmp_path / "late.log").exists()


def test_a_papers_step_begins_with_the_committed_records(card, tmp_path):
    trip = card.Trip(tmp_path)
    command = card.paper_step("yang2022", "long-tail", "medium")(trip)
    assert command[1:6] == ["-m", "fixhead", "paper", "yang2022", "long-tail"]
    committed = (card.COMMITTED / "yang2022-medium" / "runs.jsonl").read_text()
    copied = tmp_path / "papers" / "yang2022-medium" / "runs.jsonl"
    assert copied.read_text() == committed
    copied.write_text(committed + committed[:0])
    with copied.open("a") as file:
        file.write('{"later": 1}\n')
    card.paper_step("yang2022", "long-tail", "medium")(trip)
    assert "later" in copied.read_text()


def test_what_is_packed_comes_back_from_parts_of_a_limited_size(card, tmp_path, monkeypatch):
    data = tmp_path / "data"
    for name, size in (("cifar10_jpeg", 5_000), ("MNIST", 2_500), ("tiny_imagenet", 9_000)):
        (data / name).mkdir(parents=True)
        (data / name / "file").write_bytes(bytes(range(250)) * (size // 250))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "a.whl").write_bytes(b"wheel")
    monkeypatch.setattr(card, "PART_BYTES", 6_000)
    parts = card.pack(tmp_path / "parts", data, wheels, True)
    assert len(parts) > 2
    assert all(part.stat().st_size <= 6_000 for part in parts)
    back = tmp_path / "back"
    assert card.unpack(tmp_path / "parts", back) == [
        "MNIST", "cifar10_jpeg", "tiny_imagenet", "wheels",
    ]  # fmt: skip
    for name in ("cifar10_jpeg", "MNIST", "tiny_imagenet"):
        assert (back / name / "file").read_bytes() == (data / name / "file").read_bytes()


def test_a_measured_pace_is_not_measured_again(card, tmp_path):
    (tmp_path / card.PACE).write_text('{"batch_size": 128, "processes": 2}')
    trip = card.Trip(tmp_path, rehearse=True)
    card.measure_pace(trip)
    assert (trip.batch_size, trip.processes) == (128, 2)


@pytest.mark.slow
def test_the_whole_trip_is_rehearsed_on_the_cpu(card, tmp_path, capsys):
    arguments = ["--rehearse", "--out", str(tmp_path), "--seconds", "1500"]
    only = [one.name for one in card.steps() if one.name not in ("walk", "pace")]
    assert card.main([*arguments, "--only", *only]) == 0
    assert capsys.readouterr().out.rstrip().endswith("all is done")
    for name in ("table2", "table1", "hoffer", "sweep-lr10"):
        assert json.loads((tmp_path / name / "results.json").read_text())["arms"]
    card.measure_pace(card.Trip(tmp_path, rehearse=True))
    assert json.loads((tmp_path / card.PACE).read_text())["one_run_s"] > 0
