"""Codes: class vectors of which only sign bits are held, K/8 bytes for any number of features.

    vectors = implicit(classes=1_000_000, features=512)

A checkpoint holds a code in a few words of JSON (``Codes.to_dict``): the family with its m and the
seed of drawn signs, K, the column signs and the columns that are used, as bits in hexadecimal. The
diagonals follow from them; ``Codes.digest`` says whether they are those that were saved.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .._errors import RequestError
from .._seeds import default_generator_or
from ..vectors.code_families import Family, algebraic, random_signs
from ..vectors.coding import CodeVectors, find_code
from ..vectors.sylvester import next_power_of_two
from .kronecker import PACK, KroneckerTiles, pack, transform
from .native import library as native
from .ops import LogitsRequest
from .vectors import ClassVectors, LazyVectors

MIN_WIDTH = 16
"""Below so many columns a code's rows are made one by one: a transform would not be faster."""

FAMILIES = ("auto", "gold", "kerdock", "delsarte-goethals", "random")


def implicit(
    classes: int,
    features: int,
    *,
    family: str = "auto",
    generator: torch.Generator | None = None,
) -> ClassVectors:
    """K unit vectors w = rows of H D_b s/√d that are never stored: about K/8 bytes of signs.

    For d = 2^m ≥ 16 they are the vectors of ``fixhead.vectors.codes``, in the same order and from
    the same generator. For other d they are d drawn columns of a code at the next power of two, of
    norm 1 and measured, not proved, coherence (``certificate``): ``codes`` may prefer codes laid
    side by side there, which have no transform of their own. Below 16 rows are made one by one.

        vectors = implicit(classes=1_000_000, features=512)

    Source: as ``fixhead.vectors.codes``.

    Raises:
        RequestError: a family that does not exist at this d, or holds fewer vectors than K: the
            sentence names the largest K and the next family.
    """
    generator = default_generator_or(generator)
    if family not in FAMILIES:
        raise RequestError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
    power = features == next_power_of_two(features)
    if features < MIN_WIDTH:
        code = find_code(classes, features, family=family, max_cosine=1.0, generator=generator)
        return LazyVectors(code.vectors, norm=1.0, unit_rows=True, construction=code.name)
    if power and family != "random":
        code = find_code(classes, features, family=family, max_cosine=1.0, generator=generator)
        assert isinstance(code.vectors, CodeVectors)
        return Codes(code.vectors, construction=code.name)
    return _columns(classes, features, family, generator)


def _columns(classes: int, features: int, family: str, generator: torch.Generator) -> Codes:
    """d drawn columns of the least coherent code that holds K at the next power of two."""
    order = next_power_of_two(features)
    m = order.bit_length() - 1
    if family not in ("auto", "random"):
        raise RequestError(
            f"family={family!r} needs features as a power of two, got features={features}; "
            f"use features={order} or {order // 2}, or family='auto'"
        )
    fitting = [f for f in algebraic(m) if f.blocks is not None and f.blocks * order >= classes]
    if family == "auto" and fitting:
        chosen = fitting[0]
    else:
        seed = int(torch.randint(1 << 62, (1,), generator=generator))
        chosen = random_signs(m, seed)
    columns = None
    if features < order:
        columns = torch.randperm(order, generator=generator)[:features].sort().values
    coin = torch.randint(2, (features,), generator=generator, dtype=torch.uint8)
    code = CodeVectors(chosen, classes, 1.0 - 2.0 * coin.float(), columns)
    name = chosen.name if columns is None else f"{features} of {order} columns of {chosen.name}"
    return Codes(code, construction=name)


class Codes(ClassVectors):
    """Codes w_{b,r} = rows of H D_b s/√d by their transform; only D's bits are held, K/8 bytes.

    Of n = 2^m columns d may be used. Classes past the last block of a family that has an identity
    block are the one-hot vectors: the tail.

    code: what makes the rows one by one, and what the description is made of.
    order: n.  coded: the number of classes before the tail.
    """

    unit_rows = True

    def __init__(self, code: CodeVectors, *, construction: str) -> None:
        family = code.family
        self.code = code
        self.shape = code.shape
        self.construction = construction
        self.order = family.features
        blocks = -(-code.classes // self.order)
        if family.blocks is not None:
            blocks = min(blocks, family.blocks)
        self.coded = min(code.classes, blocks * self.order)
        self.fused = self.coded == code.classes
        self._flips, self._columns = code.signs, code.columns
        self._factors = code.signs / math.sqrt(code.signs.numel())
        self._elsewhere: dict[torch.device, Codes] = {}
        # In the space of ``spread`` rows are ±1 at d columns.
        longest = math.sqrt(code.signs.numel())
        self._request = LogitsRequest(self.coded, packed=_packed(code, blocks), norm=longest)

    @property
    def request(self) -> LogitsRequest:
        return self._request

    @property
    def device(self) -> torch.device:
        return self.bits.device

    @property
    def bits(self) -> Tensor:
        """The diagonals, packed: (n, ⌈B/8⌉) uint8."""
        assert self._request.packed is not None
        return self._request.packed

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """As the code's own, from the packed diagonals: none is made again."""
        labels = labels.to(self.device)
        signs = self._signs(torch.where(labels < self.coded, labels, 0))
        columns = self._columns
        signs = signs if columns is None else signs[:, columns]
        out = signs.mul_(self._flips).to(dtype)
        out = out.mul_(1 / math.sqrt(self.features))
        if self.coded < self.classes:
            tail = labels >= self.coded
            out[tail] = F.one_hot(labels[tail] - self.coded, self.features).to(dtype)
        return out

    def spread(self, projected: Tensor) -> Tensor:
        """D_s x/√d, at its columns of n: (N, d) → (N, n)."""
        scaled = projected * self._factors.to(projected)
        if self._columns is None:
            return scaled
        wide = scaled.new_zeros(len(projected), self.order)
        return wide.index_copy(1, self._columns.to(projected.device), scaled)

    def cross_entropy(self, projected: Tensor, labels: Tensor, **options: Any) -> Tensor:
        return super().cross_entropy(self.spread(projected), labels, **options)

    def negatives_lse(
        self,
        projected: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        *,
        bf16_matmul: bool = False,
        max_logit: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        coded = torch.where(labels < self.coded, labels, -1)
        front = None if bias is None else bias[: self.coded]
        value, target = super().negatives_lse(
            self.spread(projected), coded, front, bf16_matmul=bf16_matmul, max_logit=max_logit
        )
        if self.coded == self.classes:
            return value, target
        tail = self._tail(projected, bias)
        line = (labels - self.coded).unsqueeze(1)
        is_target = line == torch.arange(tail.shape[1], device=labels.device)
        others = tail.masked_fill(is_target, -torch.inf)
        value = torch.logsumexp(torch.cat([value.unsqueeze(1), others], dim=1), dim=1)
        of_tail = tail.gather(1, line.clamp(min=0)).squeeze(1)
        return value, torch.where(line.squeeze(1) >= 0, of_tail, target)

    def log_negatives(self, labels: Tensor, scale: Tensor) -> Tensor:
        """log Σ_{k ≠ y} e^{S (c_yk − 1)} in float64 of classes y (n,), differentiable in S.

        What ``fixhead.geometry.scale_auto`` needs; the target's logit at x = S w_y is S.
        """
        value, _ = self.negatives_lse(scale * self.rows(labels, torch.float64), labels, None)
        return value - scale

    def topk(
        self, projected: Tensor, bias: Tensor | None, k: int, *, bf16_matmul: bool = False
    ) -> tuple[Tensor, Tensor]:
        projected, bias = projected.detach(), None if bias is None else bias.detach()
        front = None if bias is None else bias[: self.coded]
        values, classes = super().topk(self.spread(projected), front, k, bf16_matmul=bf16_matmul)
        if self.coded < self.classes:
            tail = self._tail(projected, bias)
            behind = torch.arange(self.coded, self.classes, device=projected.device)
            values = torch.cat([values, tail], dim=1)
            classes = torch.cat([classes, behind.expand_as(tail)], dim=1)
            values, order = values.topk(k, dim=1)
            classes = classes.gather(1, order)
        return values, classes

    def matmul(self, projected: Tensor) -> Tensor:
        front = super().matmul(self.spread(projected))
        return torch.cat([front, projected[:, : self.classes - self.coded]], dim=1)

    def weighted_sum(self, weights: Tensor | None = None) -> Tensor:
        front = self._summed(None if weights is None else weights[: self.coded], self.order)
        factors = self._factors.to(front)
        columns = self._columns
        total = factors * (front if columns is None else front[columns.to(front.device)])
        left = self.classes - self.coded
        total[:left] += 1.0 if weights is None else weights[self.coded :]
        return total

    def gram_product(self, projected: Tensor) -> Tensor:
        """A block of n rows is an orthogonal matrix √(n/d) times; a cut block is transformed, and
        what it has left transformed back.
        """
        whole, left = divmod(self.coded, self.order)
        total = projected * (whole * self.order / self.features)
        if self.coded < self.classes:
            tail = self.classes - self.coded
            total[:, :tail] += projected[:, :tail]
        if left:
            byte, bit = divmod(whole, PACK)
            signs = 1 - 2 * ((self.bits[:, byte] >> bit) & 1).to(projected.dtype)
            with torch.autocast(projected.device.type, enabled=False):
                cut = transform(self.spread(projected).mul_(signs))
                cut[:, left:] = 0
                back = transform(cut).mul_(signs)
            columns = self._columns
            back = back if columns is None else back[:, columns.to(back.device)]
            total.addcmul_(back, self._factors.to(projected))
        return total

    def to(self, device: torch.device | str) -> Codes:
        """The same codes with their bits on another device, where they are kept."""
        device = torch.device(device)
        if device == self.device:
            return self
        if device not in self._elsewhere:
            moved = object.__new__(Codes)
            moved.__dict__.update(self.__dict__)
            moved._elsewhere = {}
            moved._request = self._request._replace(packed=self.bits.to(device))
            for name in ("_factors", "_flips", "_columns"):
                value = getattr(self, name)
                setattr(moved, name, None if value is None else value.to(device))
            self._elsewhere[device] = moved
        return self._elsewhere[device]

    def to_dict(self) -> dict[str, Any]:
        """What ``from_dict`` needs to make the same vectors again, as JSON takes it."""
        code = self.code
        family = code.family
        used = None
        if code.columns is not None:
            used = torch.zeros(family.features, dtype=torch.uint8)
            used[code.columns] = 1
        return {
            "family": family.name,
            "m": family.m,
            "seed": family.seed,
            "classes": code.classes,
            "signs": _hex(code.signs < 0),
            "columns": None if used is None else _hex(used),
            "construction": self.construction,
        }

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Codes:
        """The code that ``to_dict`` described.

        Raises:
            RequestError: a description of none.
        """
        try:
            family = _family(description["family"], int(description["m"]), description["seed"])
            columns = None
            if description["columns"] is not None:
                columns = _bits(description["columns"], family.features).nonzero().squeeze(1)
            width = family.features if columns is None else len(columns)
            signs = 1.0 - 2.0 * _bits(description["signs"], width).float()
            classes = int(description["classes"])
            if family.largest is not None and not 2 <= classes <= family.largest:
                raise ValueError(f"{classes} classes of {family.largest}")
            code = CodeVectors(family, classes, signs, columns)
            return cls(code, construction=str(description["construction"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError(
                f"the description of an implicit code cannot be read: {error}"
            ) from None

    def digest(self) -> str:
        """SHA-256 of K, d, the diagonals' bits, the column signs and the columns."""
        columns = self.code.columns
        parts = [self.bits, self.code.signs.to(torch.int8)]
        parts += [] if columns is None else [columns.to(torch.int64)]
        code = hashlib.sha256(f"{self.shape}".encode())
        for part in parts:
            # torch's own bytes: the core does not need NumPy
            code.update(bytes(part.cpu().contiguous().view(torch.uint8).untyped_storage()))
        return code.hexdigest()

    def grow(self, classes: int) -> Codes:
        """The same code for more classes: the vectors that are there stay where they are.

        A family goes on in its own next block, or in the next family that begins with its blocks.

        Raises:
            RequestError: no more classes than there are, or no family that goes on.
        """
        old = self.code
        if classes <= old.classes:
            raise RequestError(
                f"grow() needs more classes than the {old.classes} there are, got {classes}"
            )
        for family in _further(old.family):
            onehot = family.identity and old.columns is None
            room = None if family.blocks is None else (family.blocks + onehot) * family.features
            if room is not None and room < classes:
                continue
            code = CodeVectors(family, classes, old.signs, old.columns)
            name = self.construction.replace(old.family.name, family.name)
            longer = Codes(code, construction=name)
            if _goes_on(self, longer):
                return longer.to(self.device)
        raise RequestError(
            f"grow() cannot go on from {old.classes} to {classes} {self.construction} codes in "
            f"{self.features} features without moving them; build the head for the classes that "
            "are to come, or with vectors='implicit:random', which has no end"
        )

    def _signs(self, labels: Tensor) -> Tensor:
        """±1 (n, order) of labels, by the compiled path where there is one."""
        compiled = None
        if not torch.compiler.is_compiling():
            compiled = native.library_for(self._factors, self.bits)
        if compiled is None or labels.device.type != "cpu":
            return KroneckerTiles(self.bits, self.coded).rows(labels)
        return native.rows(compiled, self.bits, labels)

    def _tail(self, projected: Tensor, bias: Tensor | None) -> Tensor:
        """The logits of the one-hot vectors."""
        tail = projected[:, : self.classes - self.coded]
        return tail if bias is None else tail + bias[self.coded :]


def _further(family: Family) -> list[Family]:
    if family.seed is not None:
        return [family]
    known = algebraic(family.m)
    names = [one.name for one in known]
    return known[names.index(family.name) :]


def _goes_on(old: Codes, new: Codes) -> bool:
    """Whether the first K vectors are the same: in the last block and in the one-hot tail too."""
    edges = {0, old.coded - 1, min(old.coded, old.classes - 1), old.classes - 1}
    labels = torch.tensor(sorted(edges))
    if not torch.equal(old.code.rows(labels), new.code.rows(labels)):
        return False
    order = old.order
    firsts = torch.arange(0, old.coded, order)
    for labels in torch.split(firsts, 256):  # a block is its diagonal, and row 0 of it is that
        if not torch.equal(old.code.rows(labels), new.code.rows(labels)):
            return False
    return True


def _family(name: str, m: int, seed: object) -> Family:
    if name == "random":
        if not isinstance(seed, int):
            raise ValueError(f"random signs need their seed, got {seed!r}")
        return random_signs(m, seed)
    known = {family.name: family for family in algebraic(m)}
    if name not in known:
        raise ValueError(f"no family {name!r} at m = {m}")
    return known[name]


def _hex(bits: Tensor) -> str:
    text = "".join(str(bit) for bit in bits.to(torch.int64).tolist())
    return f"{int(text, 2):0{-(-len(text) // 4)}x}"


def _bits(text: str, width: int) -> Tensor:
    bits = f"{int(text, 16):0{width}b}"
    if len(bits) != width:
        raise ValueError(f"{len(bits)} bits in place of {width}")
    return torch.tensor([int(bit) for bit in bits], dtype=torch.uint8)


def _packed(code: CodeVectors, blocks: int) -> Tensor:
    """Bits of all diagonals, made and packed a few at a time."""
    step = max((1 << 14) // code.family.features // 8, 1) * 8
    pieces = []
    for start in range(0, blocks, step):
        numbers = torch.arange(start, min(start + step, blocks))
        pieces.append(pack(code.family.bits(numbers)))
    return torch.cat(pieces, dim=1)
