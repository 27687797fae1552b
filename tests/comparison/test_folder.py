"""A comparison's folder grows, has a page when it is stopped, and is joined with others."""

import json
import shutil

import numpy as np
import pytest

from fixhead import RequestError
from fixhead.cli import run
from fixhead.comparison.folder import is_behind, merge
from fixhead.comparison.terminal import ComparisonProgress
from fixhead.runs.records import read, rewrite

TIMES = {"train_seconds", "images_per_second", "peak_memory_bytes", "started_at", "commit"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixty points around three means."""
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = draw.normal(size=(60, 4)) + 2 * np.eye(3, 4)[labels]
    path = tmp_path_factory.mktemp("data") / "points.npz"
    np.savez(path, features=features.astype(np.float32), labels=labels)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FIXHEAD_CACHE", str(tmp_path / "cache"))


def compare(data, out, heads, seeds, *more):
    options = ["--data", str(data), "--epochs", "2", "--device", "cpu", "--jobs", "1"]
    options += ["--heads", ",".join(heads), "--seeds", str(seeds), "--out", str(out)]
    return run(["compare", *options, *more])


def rows(folder):
    """The records, without what says when, where and how fast."""
    found = [
        {k: v for k, v in row.items() if k not in TIMES} for row in read(folder / "runs.jsonl")
    ]
    return sorted(found, key=lambda row: row["run_id"])


def check_equal(folder, other):
    assert rows(folder) == rows(other)
    assert (folder / "results.json").read_bytes() == (other / "results.json").read_bytes()
    for model in other.glob("runs/*/model.safetensors"):
        assert (folder / model.relative_to(other)).read_bytes() == model.read_bytes()
    assert (folder / "report.html").exists()


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Two heads, three seeds, in one go."""
    out = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIXHEAD_CACHE", str(out.parent / "cache"))
        assert compare(data, out, ["learned-dot", "learned-cosine@4"], 3) == 0
    return out


def test_heads_and_seeds_are_added_and_nothing_is_repeated(data, whole, tmp_path):
    out = tmp_path / "out"
    assert compare(data, out, ["learned-cosine@4"], 1) == 0
    first = (out / "runs.jsonl").read_bytes()
    assert compare(data, out, ["learned-cosine@4"], 2) == 0
    assert compare(data, out, ["learned-dot", "learned-cosine@4"], 3) == 0
    assert (out / "runs.jsonl").read_bytes().startswith(first)
    assert len(read(out / "runs.jsonl")) == 6
    check_equal(out, whole)


@pytest.mark.parametrize(
    ("heads", "seeds", "more", "word"),
    [
        (["learned-dot"], 3, (), "heads"),
        (["learned-dot", "learned-cosine@4"], 2, (), "seeds"),
        (["learned-dot", "learned-cosine@4"], 3, ("--first-seed", "1"), "first_seed"),
        (["learned-dot", "learned-cosine@4", "hadamard"], 3, ("--lr", "0.2"), "lr"),
        (["learned-dot", "learned-cosine@4", "hadamard"], 4, ("--epochs", "3"), "epochs"),
    ],
)
def test_fewer_runs_or_any_other_change_is_refused(data, whole, capsys, heads, seeds, more, word):
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    assert compare(data, whole, heads, seeds, *more) == 2
    said = capsys.readouterr().err
    assert f"{word} = " in said or word in ("lr", "epochs", "first_seed")
    assert "name another folder" in said
    assert before == {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}


def test_a_comparison_stopped_by_the_keyboard_has_a_page_of_what_is_done(
    data, whole, tmp_path, monkeypatch
):
    out, heads = tmp_path / "out", ["learned-dot", "learned-cosine@4"]
    recorded = ComparisonProgress.recorded

    def stop_after_two(self, record):
        recorded(self, record)
        if len(read(out / "runs.jsonl")) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ComparisonProgress, "recorded", stop_after_two)
    assert compare(data, out, heads, 3) == 130
    monkeypatch.undo()
    monkeypatch.setenv("FIXHEAD_CACHE", str(tmp_path / "cache"))
    results = json.loads((out / "results.json").read_text())
    assert [arm["n"] for arm in results["arms"]] == [1, 1]
    assert results["notes"][0].startswith("2 of 6 runs are done")
    assert "2 of 6 runs are done" in (out / "report.html").read_text()
    assert compare(data, out, heads, 3) == 0
    check_equal(out, whole)


def test_report_sums_up_what_a_kill_left(whole, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    assert not is_behind(out)
    rewrite(out / "runs.jsonl", read(out / "runs.jsonl")[:3])
    assert is_behind(out)
    for leftover in ("results.json", "report.html"):
        (out / leftover).unlink()
    assert is_behind(out)
    assert run(["report", str(out)]) == 0
    assert "3 of 6 runs are done" in (out / "report.html").read_text()
    assert not is_behind(out)


@pytest.fixture
def two_machines(data, tmp_path):
    """The same data in two places; both have learned-dot-seed1."""
    elsewhere = tmp_path / "elsewhere"
    assert compare(data, tmp_path / "a", ["learned-dot", "learned-cosine@4"], 2) == 0
    assert compare(data, elsewhere, ["learned-dot"], 2, "--first-seed", "1") == 0
    assert compare(data, tmp_path / "c", ["learned-cosine@4"], 1, "--first-seed", "2") == 0
    return tmp_path / "a", elsewhere, tmp_path / "c"


def test_comparisons_made_apart_are_joined_to_the_one_made_together(
    two_machines, whole, tmp_path, capsys
):
    joined = tmp_path / "joined"
    assert run(["merge", *map(str, two_machines), "--out", str(joined)]) == 0
    check_equal(joined, whole)
    assert len(read(joined / "runs.jsonl")) == 6
    assert run(["merge", *map(str, two_machines), "--out", str(joined)]) == 0
    assert len(read(joined / "runs.jsonl")) == 6


def test_a_joined_folder_with_gaps_says_so_and_is_finished_by_compare(
    data, two_machines, whole, tmp_path
):
    first, _, last = two_machines
    joined = tmp_path / "joined"
    assert run(["merge", str(first), str(last), "--out", str(joined)]) == 0
    notes = json.loads((joined / "results.json").read_text())["notes"]
    assert notes[0].startswith("5 of 6 runs are done")
    assert compare(data, joined, ["learned-dot", "learned-cosine@4"], 3) == 0
    check_equal(joined, whole)


def change(folder, run_id, **facts):
    path = folder / "runs.jsonl"
    rewrite(path, [row | (facts if row["run_id"] == run_id else {}) for row in read(path)])


def test_a_run_with_two_results_is_refused_and_nothing_is_written(two_machines, tmp_path):
    first, second, _ = two_machines
    change(second, "learned-dot-seed1", test_accuracy=0.125)
    with pytest.raises(RequestError, match=r"learned-dot-seed1 with different test_accuracy"):
        merge([first, second], tmp_path / "joined", print)
    assert not (tmp_path / "joined").exists()


def test_the_time_and_the_place_of_a_run_may_differ(two_machines, tmp_path):
    first, second, _ = two_machines
    change(second, "learned-dot-seed1", train_seconds=1e6, device="another", commit="another")
    assert merge([first, second], tmp_path / "joined", print).seeds == 3


def test_a_failed_run_gives_way_to_a_finished_one(two_machines, tmp_path):
    first, second, _ = two_machines
    change(first, "learned-dot-seed1", status="failed", error="its process died, 3 times")
    said = []
    merge([first, second], tmp_path / "joined", said.append)
    assert said == [f"learned-dot-seed1 failed in {first}; the finished one of {second} is taken."]
    statuses = {row["run_id"]: row["status"] for row in read(tmp_path / "joined" / "runs.jsonl")}
    assert statuses["learned-dot-seed1"] == "done"


def test_another_protocol_and_one_folder_alone_are_refused(data, whole, tmp_path):
    other = tmp_path / "other"
    assert compare(data, other, ["learned-cosine@4"], 1, "--lr", "0.2") == 0
    with pytest.raises(RequestError, match=r"recipe\.lr = 0\.1 where this one has 0\.2"):
        merge([whole, other], tmp_path / "joined", print)
    for folders in ([whole], [whole, whole], [whole, tmp_path / "joined"]):
        with pytest.raises(RequestError, match="two or more different folders"):
            merge(folders, tmp_path / "joined", print)
    assert not (tmp_path / "joined").exists()
