"""The script for a lent card: its plan, its limits, what it carries, and a rehearsal on the CPU."""

import json
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from fixhead.papers import PaperRequest, RunOptions, find
from fixhead.papers.registry import build
from fixhead.papers.run import perform
from fixhead.runs.records import read

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
    seconds = {one.name: one.seconds for one in card.steps()}
    cells = build(find("shalev2020", "table2"), PaperRequest("long")).cells
    done = {row["cell"] for row in read(card.COMMITTED / "shalev2020-long" / "runs.jsonl")}
    left = [one for one in cells if "jpeg-resnet18" in one.name and one.name not in done]
    assert seconds["table2"] == pytest.approx(card.START_S + len(left) * 80 * 45_000 / pace)


def test_what_has_a_record_is_not_counted_again(card, tmp_path, monkeypatch):
    part = card.Part("shalev2020", "table2", "long", "cifar10-jpeg-resnet18")
    names = part.names(PaperRequest("long"))
    assert len(names) == 6
    (tmp_path / "shalev2020-long").mkdir()
    rows = [{"cell": name, "train_seconds": 40.0 + 10 * at} for at, name in enumerate(names[:4])]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "shalev2020-long" / "runs.jsonl").write_text(text)
    monkeypatch.setattr(card, "COMMITTED", tmp_path)
    assert part.seconds(100.0) == pytest.approx(card.START_S + 200)
    assert part.seconds() == pytest.approx(card.START_S + 2 * 55)


def test_the_trainings_are_the_papers_but_for_the_batch(card):
    trip = card.Trip(Path("trip"))
    parts = {one.name: one.part for one in card.steps() if one.part is not None}

    def cells(name):
        part = parts[name]
        request = part.request(trip)
        names = set(part.names(request))
        return [one for one in build(find(part.paper, part.item), request).cells
                if one.name in names]  # fmt: skip

    for name, data, net in (
        ("table2", "cifar10-jpeg", "resnet18"),
        ("tiny-imagenet", "tiny-imagenet", "resnet18"),
        ("preact-resnet18", "cifar10-jpeg", "preact-resnet18"),
        ("mobilenetv2", "cifar10-jpeg", "mobilenetv2"),
    ):
        chosen = cells(name)
        assert sorted((one.head, one.seed) for one in chosen) == [
            (f"{arm}-cosine@1", seed) for arm in ("learned", "random") for seed in range(3)
        ]
        config = chosen[0].recipe.config
        training = config.recipe
        assert (config.data, config.backbone) == (data, net)
        assert (training.epochs, training.schedule, training.weight_decay) == (80, "plateau", 0.0)
        assert training.batch_size == 1024
    rates = {(one.head, one.recipe.config.recipe.lr) for one in cells("table1")}
    assert rates == {(arm, lr) for arm in ("random-dot", "learned-dot:paired")
                     for lr in (0.1, 0.01)}  # fmt: skip
    assert {one.recipe.config.recipe.weight_decay for one in cells("table1")} == {5e-4}
    hoffer = cells("hoffer")
    assert (len(hoffer), hoffer[0].recipe.config.choose) == (9, "last")
    assert hoffer[0].recipe.config.recipe.epochs == 200
    assert len(cells("delacalle")) == 40
    assert [one.recipe.lr for _, one in card.sweep(trip)] == [0.1, 1.0, 10.0]


def test_another_batch_than_the_recorded_one_is_asked_for_and_stated(card, tmp_path):
    trip = card.Trip(tmp_path)
    part = card.Part("shalev2020", "table2", "long", "cifar10-jpeg-resnet18", any_batch=True)
    assert "--batch-size" not in part.command(trip)
    (tmp_path / card.PACE).write_text('{"batch_size": 256, "processes": 1}')
    command = part.command(trip)
    assert command[command.index("--batch-size") + 1] == "256"
    entry = build(find("shalev2020", "table2"), part.request(trip)).entries[0]
    assert "batches of 256" in entry.differs
    assert card.Part("yang2022", "long-tail", "medium").request(trip).batch_size is None


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
    part = card.Part("yang2022", "long-tail", "medium")
    command = part.command(trip)
    assert command[1:6] == ["-m", "fixhead", "paper", "yang2022", "long-tail"]
    committed = (card.COMMITTED / "yang2022-medium" / "runs.jsonl").read_text()
    copied = tmp_path / "papers" / "yang2022-medium" / "runs.jsonl"
    assert copied.read_text() == committed
    histories = sorted(copied.parent.glob("runs/*/history.jsonl"))
    assert [one.parent.name for one in histories] == sorted(
        one.parent.name for one in (card.COMMITTED / "yang2022-medium").glob("runs/*/history.jsonl")
    )
    with copied.open("a") as file:
        file.write('{"later": 1}\n')
    part.command(trip)
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


@pytest.mark.parametrize(
    ("left", "measured", "chosen"),
    [(1e9, [32], 32), (1_000, [32, 128, 256], 256), (10, [32, 128, 256, 1024], 1024)],
)
def test_the_smallest_batch_whose_runs_fit_into_the_time_is_taken(
    card, tmp_path, monkeypatch, left, measured, chosen
):
    seconds, trained = {32: 10.0, 128: 3.0, 256: 1.0, 1024: 0.5}, []

    def epoch_seconds(folder):
        size = folder.name.removeprefix("pace-batch")
        return seconds[int(size)] if size.isdecimal() else 1.5 * seconds[chosen]

    class Started:
        def __init__(self, command, **_):
            assert f":{chosen}" in " ".join(command)

        def wait(self):
            return 0

    monkeypatch.setattr(card, "train_for_pace", lambda name, size, *_: trained.append(size))
    monkeypatch.setattr(card, "epoch_seconds", epoch_seconds)
    monkeypatch.setattr(card.subprocess, "Popen", Started)
    monkeypatch.setenv("ON_A_CARD_SECONDS_LEFT", str(left))
    trip = card.Trip(tmp_path)
    card.measure_pace(trip)
    assert trained == measured
    assert (trip.batch_size, trip.processes) == (chosen, 2)


def test_wheels_are_fetched_for_the_cards_python_and_in_the_versions_here(
    card, tmp_path, monkeypatch
):
    asked = []

    def pip(command):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(card.subprocess, "run", pip)
    card.fetch_wheels(tmp_path / "wheels")
    [command] = asked
    assert command[1:4] == ["-m", "pip", "download"]
    assert command[command.index("--python-version") + 1] == "3.12"
    assert f"pyarrow=={version('pyarrow')}" in command
    assert "liger-kernel" in " ".join(command)


def test_wheels_that_cannot_be_fetched_are_asked_for_in_one_sentence(card, tmp_path, monkeypatch):
    failed = lambda command: subprocess.CompletedProcess(command, 1)  # noqa: E731
    monkeypatch.setattr(card.subprocess, "run", failed)
    with pytest.raises(SystemExit, match="--wheels DIR"):
        card.main(["--pack", str(tmp_path / "parts"), "--data-dir", str(tmp_path)])


def test_records_come_home_once_and_their_table_is_made(card, tmp_path):
    item, request = find("hoffer2018", "memory"), PaperRequest("small", seeds=1)
    names = [one.name for one in build(item, request).cells]
    trip, results = tmp_path / "trip", tmp_path / "results"
    for folder, cells in ((trip / card.PAPERS, names[:3]), (results, names[2:])):
        perform(item, request, folder, RunOptions(device="cpu", cells=",".join(cells)))
    brought, store = trip / card.PAPERS / "hoffer2018-small", results / "hoffer2018-small"
    for folder, text in ((brought, "theirs"), (store, "ours")):
        for run in ("both", text):
            (folder / "runs" / run).mkdir(parents=True)
            (folder / "runs" / run / "history.jsonl").write_text(text)
    kept = read(store / "runs.jsonl")
    for _ in range(2):
        [table] = card.bring_home(trip, results)
    rows = read(store / "runs.jsonl")
    assert rows[: len(kept)] == kept
    assert sorted(row["cell"] for row in rows) == sorted(names)
    found = json.loads((table / "results.json").read_text())
    assert found["cells"]["done"] == found["cells"]["planned"] == len(names)
    said = {one.parent.name: one.read_text() for one in store.glob("runs/*/history.jsonl")}
    assert said == {"both": "ours", "ours": "ours", "theirs": "theirs"}
    assert "parameters" in (table / "report.html").read_text()


def test_a_measured_pace_is_not_measured_again(card, tmp_path):
    (tmp_path / card.PACE).write_text('{"batch_size": 128, "processes": 2}')
    trip = card.Trip(tmp_path, rehearse=True)
    card.measure_pace(trip)
    assert (trip.batch_size, trip.processes) == (128, 2)


@pytest.mark.slow
def test_the_whole_trip_is_rehearsed_on_the_cpu_and_comes_home(card, tmp_path, capsys):
    out, results = tmp_path / "trip", tmp_path / "results"
    # One of each kind; the others are the same commands with other cells.
    names = ["cuda-tests", "walk", "pace", "table2", "sweep", "yang", "delacalle"]
    asked = ["--rehearse", "--out", str(out), "--seconds", "1500", "--only", *names]
    assert card.main(asked) == 0
    assert capsys.readouterr().out.rstrip().endswith("all is done")
    assert json.loads((out / card.PACE).read_text())["processes"] in (1, 2)
    [walked] = (out / "records").glob("*.json")
    rows = json.loads(walked.read_text())["rows"]
    assert rows
    assert [row for row in rows if "error" in row] == []
    assert json.loads((out / "sweep-lr10" / "results.json").read_text())["arms"]
    tables = card.bring_home(out, results)
    parts = {(f"{one.part.paper}-{one.part.scale}", one.part.item)
             for one in card.steps() if one.part is not None and one.name in names}  # fmt: skip
    assert {(table.parent.name, table.name.partition("-1epochs")[0]) for table in tables} == parts
    for table in tables:
        assert json.loads((table / "results.json").read_text())["cells"]["done"] >= 1
        assert (table / "report.html").stat().st_size > 1000
