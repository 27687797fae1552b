"""The compiled path: it inherits the whole suite in every form, and what only it can do wrong."""

import ctypes
import math
import multiprocessing
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
import torch
from agreement import relative
from hypothesis import given, settings
from hypothesis import strategies as st
from test_paths_agree import Chosen

from fixhead import RequestError
from fixhead import many_classes as scale
from fixhead._errors import PerformanceWarning
from fixhead.many_classes.kronecker import KroneckerTiles
from fixhead.many_classes.native import library as native
from fixhead.many_classes.ops import LogitsRequest
from fixhead.vectors.sylvester import transform

SOURCES = Path(native.FILE).parent
pytestmark = pytest.mark.skipif(
    not native.FILE.exists(), reason="the library was not built: pip install -e . with a compiler"
)


def forms():
    found, _ = native._open(native.FILE)
    able = 0 if found is None else found.fixhead_forms()
    return [name for name, bit in native.FORMS.items() if able & bit]


class Compiled(Chosen):
    @pytest.fixture(autouse=True)
    def _taken(self, _path):
        if self.path not in forms():
            pytest.skip(f"this processor has no {self.path}")
        assert native.chosen().name == self.path


class TestPortable(Compiled):
    path = "native-portable"


class TestAVX2(Compiled):
    path = "native-avx2"


class TestAVX512(Compiled):
    path = "native-avx512"


def codes(classes, features, seed=0):
    """Random packed signs and points, and the dense ±1 matrix in float64."""
    generator = torch.Generator().manual_seed(seed)
    blocks = -(-classes // features)
    packed = torch.randint(256, (features, -(-blocks // 8)), dtype=torch.uint8, generator=generator)
    request = LogitsRequest(classes, packed=packed, norm=math.sqrt(features))
    W = KroneckerTiles(packed, classes).rows(torch.arange(classes)).double()
    points = torch.randn(5, features, generator=generator) / math.sqrt(features)
    labels = torch.randint(classes, (5,), generator=generator)
    return request, W, points, labels


def reference(W, points, labels, bias=None):
    z = points.double() @ W.T
    z = z if bias is None else z + bias.double()
    inside = labels >= 0
    z[inside, labels[inside]] = -torch.inf
    return torch.logsumexp(z, dim=1), torch.softmax(z, dim=1) @ W


def call(request, points, labels, bias=None, *, gradient=True):
    path = native.chosen()
    return native.negatives_lse(path, request, points, labels, bias, feature_grad=gradient)


@pytest.fixture(params=["native-portable", "native-avx2", "native-avx512"])
def form(request, monkeypatch):
    if request.param not in forms():
        pytest.skip(f"this processor has no {request.param}")
    monkeypatch.setenv(native.VARIABLE, request.param)
    return request.param


@given(
    m=st.integers(4, 11),
    part=st.floats(0.01, 9.9),
    seed=st.integers(0, 99),
    length=st.sampled_from([0.5, 8.0, 300.0]),
    biased=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_values_gradients_and_the_largest_agree_at_every_size(m, part, seed, length, biased):
    classes = max(2, int((1 << m) * part))
    request, W, points, labels = codes(min(classes, 4000), 1 << m, seed)
    points, labels[0] = length * points, -1
    bias = torch.randn(request.classes) if biased else None
    value, pull = reference(W, points, labels, bias)
    z = points.double() @ W.T + (0.0 if bias is None else bias.double())
    k = min(3, request.classes)
    top = z.topk(k, dim=1).values
    for name in forms():
        with native.forced(name):
            found, gradient = call(request, points, labels, bias)
            without, nothing = call(request, points, labels, bias, gradient=False)
            largest, names = native.topk(native.chosen(), request, points, bias, k)
        assert nothing is None
        assert relative(found, value) < 1e-6
        assert relative(without, value) < 1e-6
        assert relative(gradient, pull) < 3e-6 + 1e-7 * length
        assert relative(largest, top) < 1e-6
        assert relative(z.gather(1, names), top) < 1e-6


@pytest.mark.parametrize("m", [12, 13, 14])
def test_wide_points_agree(form, m):
    order, classes = 1 << m, 3 * (1 << m) // 2
    generator = torch.Generator().manual_seed(m)
    packed = torch.randint(4, (order, 1), dtype=torch.uint8, generator=generator)
    points = torch.randn(2, order, generator=generator) / math.sqrt(order)
    request = LogitsRequest(classes, packed=packed, norm=math.sqrt(order))
    found, pull = call(request, points, torch.tensor([-1, 7]))
    signs = 1.0 - 2.0 * torch.stack([packed[:, 0] & 1, packed[:, 0] >> 1 & 1]).double()
    z = transform(points.double().unsqueeze(1) * signs).flatten(start_dim=1)
    z[:, classes:] = z[1, 7] = -torch.inf
    softmax = torch.softmax(z, dim=1).view(2, 2, order)
    assert relative(found, torch.logsumexp(z, dim=1)) < 1e-6
    assert relative(pull, (transform(softmax) * signs).sum(dim=1)) < 3e-6


def test_points_that_are_not_contiguous_or_not_aligned_give_the_same(form):
    request, _, points, labels = codes(500, 64)
    value, pull = call(request, points, labels)
    turned = points.t().contiguous().t()
    memory = bytearray(points.numel() * 4 + 1)
    odd = torch.frombuffer(memory, dtype=torch.uint8)[1:].view(-1)
    odd.copy_(points.flatten().view(torch.uint8))
    unaligned = torch.frombuffer(memory, dtype=torch.float32, offset=1).view_as(points)
    assert unaligned.data_ptr() % 4
    strided = torch.stack([labels, labels], dim=1)[:, 0]
    for moved in (turned, unaligned):
        again, gradient = call(request, moved, strided)
        assert torch.equal(again, value)
        assert torch.equal(gradient, pull)


def test_no_rows_and_more_threads_than_rows_are_served(form):
    request, _, points, labels = codes(9000, 32)
    nothing, empty = call(request, points[:0], labels[:0])
    assert nothing.shape == (0,)
    assert empty.shape == (0, 32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(16)
        big, _, point, label = codes(300_000, 32)
        many, pull = call(big, point[:1], label[:1])
        largest = native.topk(native.chosen(), big, point[:1], None, 5)
        torch.set_num_threads(1)
        one, same = call(big, point[:1], label[:1])
        alone = native.topk(native.chosen(), big, point[:1], None, 5)
    finally:
        torch.set_num_threads(before)
    assert relative(many, one) < 1e-12
    assert relative(pull, same) < 1e-6
    assert torch.equal(largest[0], alone[0])


def test_numbers_that_are_not_finite_stay_in_their_row(form):
    request, W, points, labels = codes(5000, 64)
    points[1, 3], points[2, 0], points[3, 9] = torch.nan, torch.inf, -torch.inf
    value, pull = call(request, points, labels)
    true, exact = reference(W, points[[0, 4]], labels[[0, 4]])
    assert value[1:4].isnan().all()
    assert pull[1:4].isnan().all()
    assert relative(value[[0, 4]], true) < 1e-6
    assert relative(pull[[0, 4]], exact) < 1e-6


def test_a_bias_of_minus_infinity_takes_a_class_out(form):
    request, W, points, labels = codes(700, 64)
    bias = torch.zeros(700)
    bias[100:650] = -torch.inf
    labels[:] = -1
    value, pull = reference(W, points, labels, bias)
    found, gradient = call(request, points, labels, bias)
    assert relative(found, value) < 1e-6
    assert relative(gradient, pull) < 1e-6
    _, names = native.topk(native.chosen(), request, points, bias, 64)
    assert not ((names >= 100) & (names < 650)).any()


@pytest.mark.slow
def test_more_than_two_to_the_31_logits_are_counted(form):
    """K·N > 2³¹ with K small enough to be quick: class numbers and places are 64-bit.

    One class of them all is 1.9e-6; e^0 is right to 1e-7.
    """
    if form == "native-portable":
        pytest.skip("the same C code as the other forms, slower")
    blocks, order = (1 << 31) // 16 // 4096 + 1, 16
    packed = torch.zeros(order, -(-blocks // 8), dtype=torch.uint8)
    points = torch.zeros(4096, order)
    labels = torch.full((4096,), -1)
    labels[0] = blocks * order - 1
    request = LogitsRequest(blocks * order, packed=packed, norm=4.0)
    value, _ = call(request, points, labels, gradient=False)
    assert float(value[1]) == pytest.approx(math.log(blocks * order), abs=2e-7)
    assert float(value[0]) == pytest.approx(math.log(blocks * order - 1), abs=2e-7)


def _child(answer):
    made = scale.implicit(50_000, 64)
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    answer.send(scale.log_sum_exp(x, made).tolist())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_computes_the_same_after_threads_were_used(form):
    made = scale.implicit(50_000, 64)
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        here = scale.log_sum_exp(x, made)
    finally:
        torch.set_num_threads(before)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs,))
    process.start()
    assert ours.poll(30)
    assert relative(torch.tensor(ours.recv()), here) < 1e-6
    process.join()
    assert process.exitcode == 0


def test_signs_that_are_changed_in_place_are_read_anew(form):
    request, W, points, labels = codes(100, 64)
    first, _ = call(request, points, labels)
    request.packed.bitwise_xor_(255)
    value, _ = reference(-W, points, labels)
    found, _ = call(request, points, labels)
    assert relative(found, value) < 1e-6
    assert relative(first, value) > 1e-6


def test_other_types_and_many_of_the_largest_take_the_torch_path(form):
    made = scale.implicit(500, 32)
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    assert native.library_for(x.double(), made.bits) is None
    assert native.library_for(x, None) is None
    few, many = scale.topk(x, made, 64), scale.topk(x, made, 65)
    assert relative(few.values, many.values[:, :64]) < 1e-6


def test_a_library_that_is_missing_broken_or_old_is_named_once(tmp_path, monkeypatch):
    monkeypatch.delenv(native.VARIABLE, raising=False)
    broken, empty = tmp_path / "broken.so", tmp_path / "missing.so"
    broken.write_bytes(b"no library")
    native._choose.cache_clear()
    try:
        for file, reason in ((empty, "was not built"), (broken, "cannot be loaded")):
            monkeypatch.setattr(native, "FILE", file)
            with pytest.warns(PerformanceWarning, match=reason):
                assert native.chosen().name == "torch"
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert native.chosen().name == "torch"
            with native.forced("native"), pytest.raises(RequestError, match=reason):
                native.chosen()
        monkeypatch.setattr(native, "VERSION", 999)
        other = tmp_path / "other.so"
        shutil.copy(SOURCES / "_kernel.so", other)
        monkeypatch.setattr(native, "FILE", other)
        with pytest.warns(PerformanceWarning, match="999 is needed"):
            loss = scale.log_sum_exp(torch.randn(2, 32), scale.implicit(100, 32))
        assert loss.isfinite().all()
    finally:
        native._choose.cache_clear()


def test_a_path_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setenv(native.VARIABLE, "cuda")
    with pytest.raises(RequestError, match="must be one of auto, torch, native, native-avx512"):
        native.chosen()


def test_the_environment_chooses(monkeypatch):
    for name in ("torch", *forms()):
        monkeypatch.setenv(native.VARIABLE, name)
        assert native.chosen().name == name
    monkeypatch.setenv(native.VARIABLE, "native")
    assert native.chosen().name == forms()[0]
    monkeypatch.delenv(native.VARIABLE)
    assert native.chosen().name == forms()[0]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_library_is_clean_under_the_sanitizers(tmp_path):
    driver = tmp_path / "driver"
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    source = Path(__file__).parent / "native" / "driver.c"
    command = ["gcc", "-std=gnu11", "-O1", "-g", *checks, str(source), "-o", str(driver)]
    subprocess.run([*command, "-lm", "-pthread"], check=True)
    for seed in ("1", "2", "3"):
        done = subprocess.run([str(driver), seed, "40"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_library_has_no_tie_to_python_or_torch():
    loaded = ctypes.CDLL(str(native.FILE))
    assert loaded.fixhead_version() == native.VERSION
    told = (SOURCES / "kernel.c").read_text(encoding="utf-8")
    assert "Python.h" not in told
    assert "torch" not in told
