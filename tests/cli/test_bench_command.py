import json

import pytest

from fixhead.cli import run

SMALL = ["bench", "head", "--classes", "200", "--features", "32", "--rows", "4", "--rounds", "2"]


@pytest.mark.slow
def test_the_bench_gives_a_row_per_path_with_its_ratio_to_plain(capsys):
    assert run([*SMALL, "--against", "plain", "--json"]) == 0
    rows = {row["path"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["plain"]["ratio_to_plain"] == 1.0
    code = rows["code"]
    assert (code["classes"], code["features"], code["rows"]) == (200, 32, 4)
    expected = rows["plain"]["median_ms"] / code["median_ms"]
    assert code["ratio_to_plain"] == pytest.approx(expected, rel=1e-3)
    assert code["min_ms"] <= code["median_ms"] <= code["max_ms"]


@pytest.mark.parametrize(("path", "word"), [("no-such", "no-such"), ("liger", "liger_kernel")])
def test_a_path_that_cannot_be_had_is_refused_in_one_sentence(capsys, path, word):
    if word == "liger_kernel":
        spec = __import__("importlib.util").util.find_spec(word)
        if spec is not None:
            pytest.skip("Liger is installed here")
    assert run([*SMALL, "--against", path]) == 2
    said = capsys.readouterr().err.strip()
    assert word in said
    assert len(said.splitlines()) == 1
