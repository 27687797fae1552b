"""What holds for all constructions: unit rows, none twice, no bound broken, requests refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError, certify, vectors
from fixhead.vectors.bounds import coherence_bound, cosine_bound

NAMES = sorted(vectors.CONSTRUCTIONS)
CHEAP = {"steps": 3}
OPTIONS = {"equiangular": CHEAP, "spherical_code": CHEAP}


def options_for(name: str, classes: int, features: int, seed: int) -> dict[str, object]:
    generator = torch.Generator().manual_seed(seed + 1)
    if name == "guided":
        counts = torch.randint(0, 1000, (classes,), generator=generator)
        return {"counts": counts, "order": ("circular", "valley", "shuffled")[seed % 3]}
    if name == "from_tensor":
        return {"tensor": torch.randn(classes, features, generator=generator)}
    return OPTIONS.get(name, {})


def make(name: str, classes: int, features: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    options = options_for(name, classes, features, seed)
    return vectors.build(name, classes, features, generator=generator, dtype=dtype, **options)


def check(name: str, classes: int, features: int, seed: int) -> bool:
    """Whether the construction took (K, d); if so, that the vectors are what they should be."""
    refusal = None
    try:
        W = make(name, classes, features, seed, torch.float64)
    except RequestError as error:
        refusal = str(error)
    if refusal is not None:
        assert f"{name}()" in refusal
        largest = vectors.CONSTRUCTIONS[name].largest(features)
        # Small spaces are full of given and coded vectors before any theorem says so.
        full = name == "codes" or (name == "from_tensor" and features == 1)
        assert full or (largest is not None and classes > largest), refusal
        return False
    certificate = certify(W)
    assert W.shape == (classes, features)
    assert W.dtype == torch.float64
    assert certificate.distinct == classes
    assert certificate.norm_min == pytest.approx(1, abs=1e-12)
    assert certificate.norm_max == pytest.approx(1, abs=1e-12)
    assert certificate.cosine_max >= cosine_bound(classes, features) - 1e-9
    assert certificate.abs_cosine_max >= coherence_bound(classes, features) - 1e-9
    assert certificate.signed_bound == cosine_bound(classes, features)
    return True


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15)
@given(st.data())
def test_random_sizes_up_to_512(name: str, data: st.DataObject):
    features = 2 if name == "polygon" else data.draw(st.integers(1, 512), label="features")
    classes = data.draw(st.integers(2, 512), label="classes")
    check(name, classes, features, data.draw(st.integers(0, 9), label="seed"))


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15)
@given(st.data())
def test_sizes_that_fit(name: str, data: st.DataObject):
    features = 2 if name == "polygon" else data.draw(st.integers(2, 200), label="features")
    largest = vectors.CONSTRUCTIONS[name].largest(features)
    most = 300 if largest is None else min(largest, 300)
    classes = data.draw(st.integers(2, max(2, most)), label="classes")
    taken = check(name, classes, features, data.draw(st.integers(0, 9), label="seed"))
    assert taken or name == "codes"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=8)
@given(st.data())
def test_sizes_up_to_4096(name: str, data: st.DataObject):
    features = 2 if name == "polygon" else data.draw(st.integers(2, 4096), label="features")
    largest = vectors.CONSTRUCTIONS[name].largest(features)
    most = 4096 if largest is None else min(largest, 4096)
    classes = data.draw(st.integers(2, max(2, most)), label="classes")
    taken = check(name, classes, features, data.draw(st.integers(0, 9), label="seed"))
    assert taken or name == "codes"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("classes", "features", "words"),
    [
        (0, 4, "classes >= 2"),
        (1, 4, "classes >= 2"),
        (-3, 4, "classes >= 2"),
        (2.5, 4, "classes as a whole number"),
        (True, 4, "classes as a whole number"),
        (3, 0, "features >= 1"),
        (3, -1, "features >= 1"),
        (3, 4.0, "features as a whole number"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(name, classes, features, words):
    options = {"guided": {"counts": [1, 2, 3]}, "from_tensor": {"tensor": torch.eye(3, 4)}}
    with pytest.raises(RequestError, match=words):
        vectors.build(name, classes, features, **options.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
def test_a_type_that_holds_no_directions_is_refused(name):
    options = {"guided": {"counts": [1, 2, 3]}, "from_tensor": {"tensor": torch.eye(3, 2)}}
    with pytest.raises(RequestError, match="floating dtype"):
        vectors.build(name, 3, 2, dtype=torch.int64, **options.get(name, {}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_coarse_types_keep_rows_apart_or_are_refused(name: str, dtype: torch.dtype):
    features = 2 if name == "polygon" else 3
    for classes in (3, 4, 8, 300):
        try:
            W = make(name, classes, features, 0, dtype)
        except RequestError:
            continue
        assert W.dtype == dtype
        assert torch.unique(W.double(), dim=0).shape[0] == classes


def test_unknown_names_and_options_are_refused_with_the_list():
    with pytest.raises(RequestError, match=r"random, simplex, .*, got 'etf'"):
        vectors.build("etf", 3, 4)
    with pytest.raises(RequestError, match="no option 'turn'; its options: rotate"):
        vectors.build("simplex", 3, 4, turn=True)
    with pytest.raises(RequestError, match="its options: none"):
        vectors.build("one_hot", 3, 4, rotate=True)


def test_every_entry_says_what_it_is():
    for name, known in vectors.CONSTRUCTIONS.items():
        assert known.formula
        assert known.source
        assert known.accepts
        assert getattr(vectors, name).__doc__


def test_the_door_is_what_all_says():
    visible = {name for name in vars(vectors) if not name.startswith("_")}
    modules = {name for name in visible if type(vars(vectors)[name]).__name__ == "module"}
    assert visible - modules <= set(vectors.__all__)
    assert set(vectors.__all__) <= visible
