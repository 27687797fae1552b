import json

import pytest
import torch
from typer.testing import CliRunner

from fixhead import RequestError
from fixhead.bench.rivals import Sizes, check_memory, contest, measure_alone, paths
from fixhead.bench.timing import interleaved, spread
from fixhead.cli.bench import bench_app
from fixhead.many_classes.native import library as native


def test_the_command_prints_a_record_for_every_path(monkeypatch):
    monkeypatch.setattr("fixhead.bench.rivals.measure_alone", lambda name, sizes: (4096, 1.5))
    told = CliRunner().invoke(
        bench_app,
        ["head", "--classes", "3e2", "--features", "32", "--rows", "4", "--rounds", "2", "--json"],
        catch_exceptions=False,
    )
    records = json.loads(told.stdout)
    compiled = ["native"] if native.available() else []
    assert [row["path"] for row in records] == ["code", *compiled, "stored", "plain"]
    for row in records:
        assert (row["classes"], row["features"], row["rows"]) == (300, 32, 4)
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["max_ms"]
        assert (row["peak_bytes"], row["first_ms"]) == (4096, 1.5)
        ratio = records[-1]["median_ms"] / row["median_ms"]
        assert row["ratio_to_plain"] == pytest.approx(ratio, rel=1e-2)


def test_memory_and_first_step_are_measured_in_a_process_of_their_own():
    peak, first_ms = measure_alone("plain", Sizes(20_000, 64, 16))
    matrix = 4 * 20_000 * 64
    assert peak is None or matrix <= peak < 40 * matrix
    assert first_ms > 0


def test_steps_are_timed_in_turn_and_short_ones_repeated():
    order = []
    steps = {"first": lambda: order.append("first"), "second": lambda: order.append("second")}
    samples = interleaved(steps, rounds=3, sample_s=1e-9)
    assert order[4:] == ["first", "second"] * 3  # two calls of each come before the first round
    assert {name: len(times) for name, times in samples.items()} == {"first": 3, "second": 3}
    calls = []
    interleaved({"step": lambda: calls.append(1)}, rounds=1, sample_s=0.01)
    assert len(calls) > 10


def test_a_spread_is_in_milliseconds_and_its_ratios_are_taken_round_by_round():
    found = spread([0.001, 0.004, 0.002], reference=[0.001, 0.002, 0.004])
    assert (found["median_ms"], found["min_ms"], found["max_ms"]) == (2.0, 1.0, 4.0)
    assert (found["ratio_median"], found["ratio_min"], found["ratio_max"]) == (1.0, 0.5, 2.0)


def test_unknown_paths_and_sizes_are_refused():
    assert paths([])[0] == "code"
    assert "stored" not in paths([])
    with pytest.raises(RequestError, match="--against must name code, native"):
        contest(Sizes(100, 32, 4), ["plane"])
    for text in ("1.5", "many", "inf", "1", ""):
        with pytest.raises(RequestError, match="--classes needs"):
            CliRunner().invoke(bench_app, ["head", "--classes", text], catch_exceptions=False)


def test_what_does_not_fit_into_memory_is_refused_before_it_starts():
    check_memory(Sizes(10**12, 512, 256), ["code", "native"])
    with pytest.raises(RequestError, match="GiB free"):
        check_memory(Sizes(10**12, 512, 256), ["code", "stored", "plain"])


def test_the_path_in_use_is_told_with_its_reason(monkeypatch):
    monkeypatch.setenv(native.VARIABLE, "torch")
    told = CliRunner().invoke(bench_app, ["paths", "--json"], catch_exceptions=False)
    record = json.loads(told.stdout)
    assert (record["in_use"], record["why"]) == ("torch", "FIXHEAD_SCALE_PATH=torch")
    assert [row["path"] for row in record["paths"] if row["in_use"]] == ["torch"]
    shown = CliRunner().invoke(bench_app, ["paths"], catch_exceptions=False).stdout
    assert shown.startswith("in use: torch")
    assert "native-portable" in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(RequestError, match="needs a CUDA device"):
        CliRunner().invoke(bench_app, ["head", "--device", "cuda"], catch_exceptions=False)


def test_places_and_types_that_cannot_be_timed_are_refused():
    for arguments, match in (
        (["--device", "tpu"], "--device must be cpu, cuda"),
        (["--dtype", "bfloat16"], "needs --device cuda"),
        (["--dtype", "int8"], "--dtype must be one of float32, bfloat16"),
    ):
        with pytest.raises(RequestError, match=match):
            CliRunner().invoke(bench_app, ["head", *arguments], catch_exceptions=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_path_of_ours_is_timed_on_a_gpu(dtype):
    names = ["plain", "plain-half", "chunked", "partial-fc", "learned", "learned-chunked"]
    found = contest(Sizes(2_000, 32, 64, "cuda", dtype), names, rounds=2)
    assert {timing.path for timing in found} == {"code", "stored", *names}
    assert all(timing.median_ms > 0 and timing.peak_bytes > 0 for timing in found)


@pytest.mark.slow
def test_learned_vectors_and_every_form_can_be_raced():
    forms = [name for name, there, _ in native.paths() if there and name != "torch"]
    found = contest(Sizes(2_000, 32, 4), ["plain", "learned", *forms], rounds=2)
    assert {timing.path for timing in found} >= {"code", "plain", "learned", *forms}
    assert all(timing.median_ms > 0 for timing in found)
