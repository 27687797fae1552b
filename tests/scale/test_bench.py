import json

import pytest
from typer.testing import CliRunner

from fixhead import RequestError
from fixhead.cli.bench import bench_app
from fixhead.scale.contest import Sizes, check_memory, contest, paths


def test_the_command_prints_a_record_for_every_path():
    told = CliRunner().invoke(
        bench_app,
        ["head", "--classes", "3e2", "--features", "32", "--rows", "4", "--rounds", "2", "--json"],
        catch_exceptions=False,
    )
    records = json.loads(told.stdout)
    assert [row["path"] for row in records] == ["code", "stored", "plain"]
    for row in records:
        assert (row["classes"], row["features"], row["rows"]) == (300, 32, 4)
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["max_ms"]
        assert row["peak_bytes"] is None or row["peak_bytes"] >= 0
        ratio = records[-1]["median_ms"] / row["median_ms"]
        assert row["ratio_to_plain"] == pytest.approx(ratio, rel=1e-2)


def test_unknown_paths_and_sizes_are_refused():
    assert paths([]) == ["code"]
    with pytest.raises(RequestError, match="--against must name code, stored, plain"):
        contest(Sizes(100, 32, 4), ["plane"])
    for text in ("1.5", "many", "inf", "1", ""):
        with pytest.raises(RequestError, match="--classes needs"):
            CliRunner().invoke(bench_app, ["head", "--classes", text], catch_exceptions=False)


def test_what_does_not_fit_into_memory_is_refused_before_it_starts():
    check_memory(Sizes(10**12, 512, 256), ["code"])
    with pytest.raises(RequestError, match="GiB free"):
        check_memory(Sizes(10**12, 512, 256), ["code", "stored", "plain"])
