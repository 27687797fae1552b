"""Class vectors as sums of a few code rows: R stages, each a learned map before one fixed code.

    w_k = Σ_r A_rᵀ c_{j_rk},    C (m, n) a code that is never stored, A_r (n, d) learned,
                                j_rk the row that class k takes in stage r: R numbers a class

All rows of a stage, T_r = C A_r (m, d), come from the code's transform. With t_rj = T_r[j]·x the
logits of a feature x (d,) are sums of R numbers that are looked up,
    z_k = w_k·x = Σ_r t_r,j_rk,
and with p_k = ∂ℓ/∂z_k and G_rj = Σ_{k: j_rk = j} p_k the gradients are those of R·m numbers,
    ∂ℓ/∂t_rj = G_rj,
from which those of x and A_r follow by two small products and the transform. Lengths ‖w_k‖, where
logits are cosines, come from rows decoded a few thousand at a time. R·n·d numbers are trained.
Source: Babenko & Lempitsky 2014, "Additive quantization for extreme vector compression"; for the
choice one stage after the other, Chen, Guan & Wang 2010, "Approximate nearest neighbor search by
residual vector quantization".
"""

from __future__ import annotations

import hashlib
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional as F

from .._errors import RequestError
from .._seeds import default_generator_or
from ..geometry.certificate import Certificate
from ..logits import unit
from . import blockwise, ops
from .codes import Codes, implicit
from .ops import LogitsRequest
from .quantised import DECODED, TINY, TableTiles, scatter_
from .vectors import ClassVectors, prefers_chunking, with_bias

WIDTHS = (16, 512)
"""The least and the greatest n; between them the power of two at or above 2d."""

ROWS = 4_096
"""Rows of a stage's code at most; n² where that is fewer."""

MOST = 16
"""Stages at most."""

MULTIPLIED = 128
"""Up to this n a product with C is faster than the transform."""

CELLS = 1 << 22
"""Numbers at once: of decoded rows, and of gains of classes over a stage's rows."""

SAMPLE = 1 << 14
"""Rows from which maps are found; more of them are only assigned."""

ROUNDS = 6
RIDGE = 1e-3


class StagedVectors(ClassVectors):
    """K vectors as sums of R rows of maps (R, n, d) before a code, which may be learned.

    choices: the rows j (K, R) int16.
    unit_rows: whether sums are brought to length 1 when they are decoded.
    """

    fused = False

    def __init__(
        self, maps: Tensor, choices: Tensor, code: Codes, *, unit_rows: bool = False
    ) -> None:
        fits = maps.ndim == 3 and choices.ndim == 2 and choices.shape[1] == len(maps)
        if not fits or choices.dtype != torch.int16 or maps.shape[1] != code.features:
            raise RequestError(
                f"vectors in stages need maps (R, n, d) with n = {code.features} and rows (K, R) "
                f"of int16, got {tuple(maps.shape)} and {tuple(choices.shape)} of {choices.dtype}"
            )
        self.maps, self.choices, self.code = maps, choices, code
        self.unit_rows = unit_rows
        self.construction = f"stages:{len(maps)}"
        self.shape = len(choices), maps.shape[2]
        self._tables: tuple[object, Tensor] | None = None

    @property
    def tables(self) -> Tensor:
        """T (R·m, d), differentiable in the maps; made once as long as these stay."""
        key = (self.maps._version, torch.is_grad_enabled())
        if self._tables is None or self._tables[0] != key:
            with torch.autocast(self.device.type, enabled=False):
                wide = self.maps if self.maps.dtype == torch.float64 else self.maps.float()
                made = torch.cat([_all_rows(self.code, one) for one in wide])
            self._tables = (key, made)
        return self._tables[1]

    @property
    def norm(self) -> float | None:
        """Σ_r max_j ‖T_r[j]‖, whether some class has all these rows or none."""
        if self.unit_rows or torch.compiler.is_compiling():
            return super().norm
        lengths = torch.linalg.vector_norm(self.tables.detach().double(), dim=1)
        return float(lengths.view(len(self.maps), -1).amax(dim=1).sum())

    @property
    def request(self) -> LogitsRequest:
        return LogitsRequest(self.classes, maker=ops.register_maker(self), norm=self.norm)

    @property
    def device(self) -> torch.device:
        return self.maps.device

    def to(self, device: torch.device | str) -> StagedVectors:
        if self.device == torch.device(device):
            return self
        return StagedVectors(
            self.maps.to(device),
            self.choices.to(device),
            self.code.to(device),
            unit_rows=self.unit_rows,
        )

    def unit(self) -> StagedVectors:
        """The same directions with rows of length 1, through which a gradient flows back."""
        made = StagedVectors(self.maps, self.choices, self.code, unit_rows=True)
        made._tables = self._tables
        return made

    def places(self, labels: Tensor | slice) -> Tensor:
        """r·m + j_rk (n, R): where the rows of those classes stand among all rows."""
        offsets = self.code.classes * torch.arange(len(self.maps), device=self.device)
        return self.choices[labels].long() + offsets

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        places = self.places(labels.to(self.device))
        rows = F.embedding_bag(places, self.tables, mode="sum").to(dtype)
        return unit(rows) if self.unit_rows else rows

    @torch.no_grad()
    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        return super().dense(dtype)

    def prefers_chunking(self, rows: int, *, learned: bool = False) -> bool:
        return prefers_chunking(rows, self.classes, self.device)

    def matmul(self, projected: Tensor) -> Tensor:
        """x Wᵀ (N, K), differentiable in the maps too: of all rows, decoded, where those are few;
        else looked up."""
        if self.classes * self.features < DECODED:
            rows = self.rows(torch.arange(self.classes, device=self.device), projected.dtype)
            return F.linear(projected, rows)
        with torch.autocast(projected.device.type, enabled=False):
            seen = self.tables.to(projected.dtype) @ projected.t()
            logits = F.embedding_bag(self.places(slice(None)), seen, mode="sum")
            lengths = self.inverse_lengths(projected.dtype)
            if lengths is not None:
                logits = logits * lengths.unsqueeze(1)
        return logits.t()

    def inverse_lengths(self, dtype: torch.dtype) -> Tensor | None:
        """1/‖w_k‖ (K,), differentiable in the maps; None where rows are as they are."""
        if not self.unit_rows:
            return None
        made: Tensor = _InverseLengths.apply(self.tables.to(dtype), self)  # type: ignore[no-untyped-call]
        return made

    def negatives_lse(
        self,
        projected: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        *,
        bf16_matmul: bool = False,
        max_logit: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(projected.device.type, enabled=False):
            tables = self.tables.to(projected.dtype)
            lengths = self.inverse_lengths(projected.dtype)
            lse = _NegativesLSE.apply(  # type: ignore[no-untyped-call]
                tables @ projected.t(), lengths, bias, labels, self, projected.detach(), max_logit
            )
            target = (projected * self.rows(labels.clamp(min=0), projected.dtype)).sum(dim=1)
        return lse, with_bias(target, labels, bias)

    @torch.no_grad()
    def topk(
        self, projected: Tensor, bias: Tensor | None, k: int, *, bf16_matmul: bool = False
    ) -> tuple[Tensor, Tensor]:
        return blockwise.topk(StageTiles(self, projected.dtype), projected, bias, k)

    def weighted_sum(self, weights: Tensor | None = None) -> Tensor:
        """Σ_k a_k w_k (d,), differentiable in the maps."""
        places = self.places(slice(None))
        ones = self.tables.new_ones(self.classes) if weights is None else weights
        lengths = self.inverse_lengths(ones.dtype)
        shares = (ones if lengths is None else ones * lengths).unsqueeze(1).expand_as(places)
        tables = self.tables.to(ones.dtype)
        totals = tables.new_zeros(len(tables)).index_add(0, places.flatten(), shares.flatten())
        return totals @ tables

    @torch.no_grad()
    def certificate(self, sample: int | None = None) -> Certificate:
        return super().certificate(sample)

    def digest(self) -> str:
        """SHA-256 of the maps, the rows taken and the code."""
        found = hashlib.sha256(f"{self.shape} {self.unit_rows} {self.code.digest()}".encode())
        for part in (self.maps, self.choices):
            plain = part.detach().cpu().contiguous().view(torch.uint8)
            found.update(bytes(plain.untyped_storage()))
        return found.hexdigest()


def _all_rows(code: Codes, one: Tensor) -> Tensor:
    """T_r = C A_r (m, d): by the transform, or as a product where n is small."""
    if code.features > MULTIPLIED:
        return code.matmul(one.t().contiguous()).t()
    known = _dense.get(code)
    if known is None or known.dtype != one.dtype or known.device != one.device:
        known = _dense[code] = code.dense(one.dtype).to(one.device)
    return known @ one


_dense: WeakKeyDictionary[Codes, Tensor] = WeakKeyDictionary()
"""C (m, n) of codes of few dimensions: 2 MiB of float32."""


class StageTiles(TableTiles):
    """Tiles of logits by looking up among the rows of all stages."""

    def __init__(
        self,
        vectors: StagedVectors,
        dtype: torch.dtype,
        *,
        seen: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> None:
        self.vectors = vectors
        self.classes = vectors.classes
        self.tables = vectors.tables.detach().to(dtype)
        self.places = self.tables.new_empty(0, dtype=torch.int64)
        self.lengths: Tensor | None = None
        self._sums: list[Tensor] = []
        self._seen = seen
        self._lengths = vectors.inverse_lengths(dtype) if lengths is None else lengths

    def looked_up(self, strip: Tensor, begin: int) -> Tensor:
        if self._seen is None:
            return self.tables @ strip.t()
        return self._seen[:, begin : begin + len(strip)].contiguous()

    def inverse_lengths(self, start: int, stop: int) -> Tensor | None:
        return None if self._lengths is None else self._lengths[start:stop]

    def back(self, sums: Tensor) -> Tensor:
        return sums.t() @ self.tables


class _InverseLengths(torch.autograd.Function):
    """a_k = 1/‖w_k‖ (K,); ∂a_k/∂w_k = −a_k³ w_k."""

    @staticmethod
    def forward(ctx: Any, tables: Tensor, vectors: StagedVectors) -> Tensor:
        found = tables.new_empty(vectors.classes)
        for part, places in _parts(vectors):
            rows = F.embedding_bag(places, tables, mode="sum")
            found[part] = rows.square().sum(dim=1).clamp(min=TINY).rsqrt()
        ctx.vectors = vectors
        ctx.save_for_backward(tables, found)
        return found

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        tables, found = ctx.saved_tensors
        gradient = torch.zeros_like(tables)
        with torch.no_grad():
            factors = -upstream * found**3
            for part, places in _parts(ctx.vectors):
                rows = F.embedding_bag(places, tables, mode="sum")
                scatter_(gradient, places, rows.mul_(factors[part].unsqueeze(1)))
        return ops.once(gradient), None


def _parts(vectors: StagedVectors) -> Any:
    """The classes a few thousand at a time, and their places."""
    step = max(CELLS // 4 // vectors.features, 1)
    for start in range(0, vectors.classes, step):
        part = slice(start, min(start + step, vectors.classes))
        yield part, vectors.places(part)


class _NegativesLSE(torch.autograd.Function):
    """R (N,) in float64 of what is looked up, t (R·m, N), and 1/‖w‖ (K,); a second walk for the
    gradients in both."""

    @staticmethod
    def forward(
        ctx: Any,
        seen: Tensor,
        lengths: Tensor | None,
        bias: Tensor | None,
        labels: Tensor,
        vectors: StagedVectors,
        projected: Tensor,
        max_logit: float | None,
    ) -> Tensor:
        offset = None if bias is None else bias.to(seen.dtype)
        tiles = StageTiles(vectors, seen.dtype, seen=seen, lengths=lengths)
        safe = blockwise.needs_no_max(
            projected, offset, tiles.classes, norm=vectors.norm, max_logit=max_logit
        )
        lse, _ = blockwise.online_lse(
            tiles, projected, labels, offset, safe=safe, feature_grad=False
        )
        ctx.vectors, ctx.projected = vectors, projected
        ctx.save_for_backward(seen, lengths, bias, labels, lse)
        return lse

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        seen, lengths, bias, labels, lse = ctx.saved_tensors
        with torch.no_grad():
            tiles = StageTiles(ctx.vectors, seen.dtype, seen=seen, lengths=lengths)
            near = lse.to(seen.dtype)
            factors = upstream.to(seen.dtype) * (near - lse).exp().to(seen.dtype)
            offset = None if bias is None else bias.to(seen.dtype)
            totals = seen.new_zeros(tiles.classes)
            pulls = None if lengths is None else torch.zeros_like(lengths)
            cells = blockwise.target_cells(tiles, labels)
            for tile in tiles.walk(ctx.projected) if len(ctx.projected) else ():
                part = slice(tile.start, tile.stop)
                assert tile.span is not None
                span = slice(*tile.span)
                weights = tile.logits - near[part]
                if offset is not None:
                    weights.add_(offset[span].unsqueeze(1))
                weights.exp_().mul_(factors[part])
                blank = cells.get(tile.key)
                if blank is not None:
                    weights.view(-1).index_fill_(0, blank, 0.0)
                totals[span] += weights.sum(dim=1)
                if pulls is not None:
                    assert lengths is not None
                    pulls[span] += torch.linalg.vecdot(weights, tile.logits) / lengths[span]
                tile.logits = weights
                tiles.accumulate(tile, total=False)
            to_seen = torch.cat(tiles._sums, dim=1) if tiles._sums else torch.zeros_like(seen)
            to_bias = None if bias is None else totals.to(bias.dtype)
        grads = [
            ops.once(gradient) if needed and gradient is not None else None
            for gradient, needed in zip(
                (to_seen, pulls, to_bias), ctx.needs_input_grad, strict=False
            )
        ]
        return (*grads, None, None, None, None)


# Maps and rows: drawn, found from class vectors, chosen anew.


def stages_of(word: str) -> int | None:
    """``"stages:4"`` → 4; None where the word means no vectors in stages.

    Raises:
        RequestError: no number of stages follows the colon.
    """
    name, _, number = word.partition(":")
    if name != "stages":
        return None
    if not number.isdecimal() or not 1 <= int(number) <= MOST:
        raise RequestError(
            f"vectors=stages needs the number of stages after a colon, 1 to {MOST}, as stages:4, "
            f"got {word!r}"
        )
    return int(number)


def stage_code(features: int) -> Codes:
    """C (m, n) of vectors of d dimensions: the least coherent code, always the same."""
    low, high = WIDTHS
    width = min(max(1 << (2 * features - 1).bit_length(), low), high)
    code = implicit(min(width * width, ROWS), width)
    assert isinstance(code, Codes)
    return code


def check_stages(classes: int, stages: int, rows: int) -> None:
    """Refuse more classes than sums of rows.

    Raises:
        RequestError: naming what would do.
    """
    if classes > rows**stages:
        raise RequestError(
            f"vectors=stages:{stages} tells at most {rows**stages:,} classes apart here, got "
            f"{classes:,}; use stages:{stages + 1}"
        )


def drawn_stages(
    classes: int, features: int, stages: int, *, generator: torch.Generator, dtype: torch.dtype
) -> StagedVectors:
    """Maps of N(0, 1/(R d)) and rows at random, no two classes the same: a start without data."""
    code = stage_code(features)
    check_stages(classes, stages, code.classes)
    shape = (stages, code.features, features)
    maps = torch.randn(shape, generator=generator, dtype=dtype) / (stages * features) ** 0.5
    return StagedVectors(maps, _distinct(classes, stages, code.classes, generator), code)


def _distinct(classes: int, stages: int, rows: int, generator: torch.Generator) -> Tensor:
    told = min(stages, 5)  # so many twelve-bit numbers fit into one word
    kept = torch.empty(0, stages, dtype=torch.int16)
    while len(kept) < classes:
        shape = (classes - len(kept), stages)
        both = torch.cat([kept, torch.randint(rows, shape, generator=generator, dtype=torch.int16)])
        words = torch.zeros(len(both), dtype=torch.int64)
        for column in both[:, :told].unbind(dim=1):
            words = words * rows + column
        order = words.argsort(stable=True)
        again = torch.zeros(len(both), dtype=torch.bool)
        again[order[1:]] = words[order].diff() == 0
        kept = both[~again]
    return kept


@torch.no_grad()
def in_stages(
    vectors: Tensor, stages: int, *, generator: torch.Generator | None = None
) -> StagedVectors:
    """The maps and rows whose sums are near to given rows (K, d).

    Stage by stage a map is drawn with the scatter of what is left, each class takes the row
    nearest to its own rest, and least squares sets the map; then, ``ROUNDS`` times, least squares
    sets all maps together and each class chooses anew, one stage after the other. On at most
    16,384 drawn rows; the others are only assigned.
    """
    classes, features = vectors.shape
    code = stage_code(features)
    check_stages(classes, stages, code.classes)
    generator = default_generator_or(generator)
    order = torch.randperm(classes, generator=generator)[:SAMPLE]
    points = vectors.detach().double()[order.to(vectors.device)]
    rows = code.to(vectors.device).dense(torch.float64)  # C (m, n)
    maps = points.new_zeros(stages, code.features, features)
    chosen = torch.zeros(len(points), stages, dtype=torch.int64, device=points.device)
    left = points.clone()
    for stage in range(stages):
        draws = torch.randn(code.features, features, generator=generator, dtype=torch.float64)
        scatter = left.T @ left / len(left)
        values, axes = torch.linalg.eigh(scatter)
        root = (axes * values.clamp(min=0).sqrt()) @ axes.T
        drawn = rows @ draws.to(points.device) @ root
        chosen[:, stage] = _nearest(left, drawn)
        maps[stage] = _least_squares(left, rows[chosen[:, stage]])
        left = left - rows[chosen[:, stage]] @ maps[stage]
    for _ in range(ROUNDS):
        chosen = _rechosen(points, rows @ maps, chosen)
        design = rows[chosen].flatten(1)  # (n, R·n)
        maps = _least_squares(points, design).view_as(maps)
    tables = rows @ maps
    made = maps.to(vectors.dtype)
    return StagedVectors(made, nearest_sums(vectors, tables), code.to(vectors.device))


def _least_squares(points: Tensor, design: Tensor) -> Tensor:
    """X (p, d) that minimises ‖points − design X‖² + ridge: design (n, p)."""
    gram = design.T @ design
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    found: Tensor = torch.linalg.solve(gram, design.T @ points)
    return found


def _nearest(points: Tensor, rows: Tensor) -> Tensor:
    """The nearest row (n,) of rows (m, d) to each point (n, d)."""
    half = rows.square().sum(dim=1) / 2
    return torch.addmm(-half, points, rows.T).argmax(dim=1)


def _rechosen(points: Tensor, tables: Tensor, chosen: Tensor) -> Tensor:
    """Each stage's row anew, the others staying: the error falls or stays. tables (R, m, d)."""
    stages = torch.arange(len(tables), device=tables.device)
    chosen = chosen.clone()
    left = points - tables[stages, chosen].sum(dim=1)
    for stage, rows in enumerate(tables):
        left = left + rows[chosen[:, stage]]
        chosen[:, stage] = _nearest(left, rows)
        left = left - rows[chosen[:, stage]]
    return chosen


@torch.no_grad()
def nearest_sums(vectors: Tensor, tables: Tensor, choices: Tensor | None = None) -> Tensor:
    """Rows (n, R) int16 of tables (R, m, d) whose sums are near to vectors (n, d).

    From ``choices``, which they are never farther than; otherwise stage by stage from nothing, and
    then anew twice.
    """
    tables = tables.detach().float()
    pieces = []
    step = max(CELLS // tables.shape[1], 1)
    for number, part in enumerate(torch.split(vectors.detach().float(), step)):
        if choices is None:
            left, found = part, []
            for rows in tables:
                found.append(_nearest(left, rows))
                left = left - rows[found[-1]]
            chosen = torch.stack(found, dim=1)
        else:
            chosen = choices[number * step : number * step + len(part)].long()
        for _ in range(2):
            chosen = _rechosen(part, tables, chosen)
        pieces.append(chosen.to(torch.int16))
    return torch.cat(pieces)
