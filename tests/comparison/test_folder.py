import json
from dataclasses import replace

import pytest

from fixhead import RequestError
from fixhead.comparison import Comparison
from fixhead.comparison.folder import claim, read_config, refuse_foreign

ONE = Comparison(heads=("simplex",), seeds=1)


def test_a_new_folder_is_claimed_and_carries_its_configuration(tmp_path):
    out = tmp_path / "a" / "b"
    with claim(out, ONE):
        assert Comparison.from_dict(read_config(out)["config"]) == ONE


def test_the_same_comparison_comes_back_to_its_folder(tmp_path):
    for _ in range(2):
        with claim(tmp_path, ONE):
            pass


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seeds": 2}, "seeds"),
        ({"heads": ("hadamard",)}, "heads"),
        ({"recipe": replace(ONE.recipe, lr=0.123)}, r"recipe\.lr"),
        ({"data": "mnist"}, "data"),
    ],
)
def test_another_configuration_is_refused_by_its_first_difference(tmp_path, change, word):
    with claim(tmp_path, ONE):
        pass
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(RequestError, match=word), claim(tmp_path, replace(ONE, **change)):
        pass
    assert (tmp_path / "config.json").read_bytes() == before


def test_someone_elses_files_are_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RequestError, match=r"thesis\.tex"), claim(tmp_path, ONE):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_someone_elses_config_json_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"my": "settings"}))
    with pytest.raises(RequestError, match="schema"):
        refuse_foreign(tmp_path, ONE)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "out"
    path.write_text("")
    with pytest.raises(RequestError, match="folder"), claim(path, ONE):
        pass


def test_a_second_process_is_kept_out(tmp_path):
    with claim(tmp_path, ONE), pytest.raises(RequestError, match="at work"), claim(tmp_path, ONE):
        pass


def test_the_digest_tells_every_option_apart():
    changes = [
        {"seeds": 4}, {"features": 8}, {"tune": (0.1, 0.2)}, {"augmentation": "none"},
        {"recipe": replace(ONE.recipe, epochs=7)},
    ]  # fmt: skip
    digests = {ONE.digest, *(replace(ONE, **change).digest for change in changes)}
    assert len(digests) == 1 + len(changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, "seeds"),
        ({"heads": ()}, "at least one"),
        ({"heads": ("simplex", "simplex")}, "twice"),
        ({"heads": ("unheard-of",)}, "unheard-of"),
        ({"tune": (0.1, -1.0)}, "above 0"),
    ],
)
def test_an_impossible_comparison_is_refused(arguments, message):
    with pytest.raises(RequestError, match=message):
        Comparison(**arguments)


def test_an_unknown_option_in_a_configuration_is_refused():
    with pytest.raises(RequestError, match="speed"):
        Comparison.from_dict({"speed": 3})
