"""More class vectors that leave the old ones where they are."""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from ..many_classes.codes import Codes
from ..many_classes.quantised import QuantisedVectors
from ..many_classes.vectors import ClassVectors, DenseVectors
from ..vectors import gaussian, registry
from ..vectors.rows import count_distinct
from ..vectors.sylvester import walsh_rows
from .as_released import linear_rows

_TRIES = 100


def grown(
    vectors: ClassVectors, construction: str, classes: int, generator: torch.Generator
) -> ClassVectors:
    """``vectors`` (K, d) with further rows after them, ``classes`` in all.

    random       fresh directions
    linear       fresh draws of nn.Linear's own initialisation
    one_hot      the coordinates that are not taken
    orthonormal  random orthonormal directions of the orthogonal complement, while d leaves room
    hadamard     d a power of two: Sylvester's rows are a group under the entrywise product, so
                 w₀ ∘ h_j runs through all of them, signed as w₀ is; those not taken, in drawn order
    codes        the same code goes on, stored or not; refused where more classes would need another
    quantised    bytes that no class has, drawn at random: the tables stay

    Raises:
        RequestError: nothing to add, or no such vectors are left.
    """
    if isinstance(vectors, Codes):
        return vectors.grow(classes)
    if isinstance(vectors, QuantisedVectors):
        return vectors.grow(classes, generator)
    number = classes - vectors.classes
    if number < 1:
        raise RequestError(
            f"grow() needs more classes than the {vectors.classes} there are, got {classes}"
        )
    makers = {
        "random": _random,
        "linear": _linear,
        "one_hot": _one_hot,
        "orthonormal": _complement,
        "hadamard": _hadamard,
        "codes": _codes,
    }
    name = construction.partition(":")[0]
    if name not in makers:
        raise RequestError(
            f"grow() needs vectors that can go on ({', '.join(makers)}), got {construction}: "
            "further ones would move those that are there"
        )
    assert isinstance(vectors, DenseVectors)
    old = vectors.tensor.detach()
    added = makers[name](old.cpu(), number, generator)
    return DenseVectors(torch.cat([old, added.to(old)]), unit_rows=vectors.unit_rows)


def _random(old: Tensor, number: int, generator: torch.Generator) -> Tensor:
    for _ in range(_TRIES):
        most = max(number, 2)  # constructions are of two classes at least
        added = gaussian.random(most, old.shape[1], generator=generator, dtype=old.dtype)
        added = added[:number]
        if count_distinct(torch.cat([old, added])) == old.shape[0] + number:
            return added
    raise RequestError(
        f"grow() found no {number} further distinct rows in {old.dtype} after {_TRIES} draws"
    )


def _linear(old: Tensor, number: int, generator: torch.Generator) -> Tensor:
    features = old.shape[1]
    return linear_rows(number, features, features, generator, old.dtype)


def _one_hot(old: Tensor, number: int, generator: torch.Generator) -> Tensor:
    free = (old == 0).all(dim=0).nonzero().squeeze(1)
    _need_room(number, len(free), "coordinates")
    rows = torch.zeros(number, old.shape[1], dtype=old.dtype)
    rows[torch.arange(number), free[:number]] = 1
    return rows


def _complement(old: Tensor, number: int, generator: torch.Generator) -> Tensor:
    rows, features = old.shape
    _need_room(number, features - rows, "orthogonal directions")
    draws = torch.randn(features, number, generator=generator, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.cat([old.double().T, draws], dim=1))
    added: Tensor = q[:, rows:].T
    return added.to(old.dtype).contiguous()


def _hadamard(old: Tensor, number: int, generator: torch.Generator) -> Tensor:
    features = old.shape[1]
    if features & (features - 1):
        raise RequestError(
            "grow() of Hadamard vectors needs features to be a power of two (otherwise which "
            f"columns were kept is not known), got {features}; use codes or random"
        )
    columns = torch.arange(features)
    group = walsh_rows(columns, columns, features.bit_length() - 1)
    # sign(w₀ ∘ w_k) = ±h_j: the one row of the group on which the product with it is ±d.
    taken = (torch.sign(old * old[0]).float() @ group.T).abs().argmax(dim=1)
    free = torch.ones(features, dtype=torch.bool).index_fill_(0, taken, False).nonzero().squeeze(1)
    _need_room(number, len(free), "Hadamard rows")
    chosen = free[torch.randperm(len(free), generator=generator)[:number]]
    return old[0] * group[chosen].to(old.dtype)


def _codes(old: Tensor, number: int, generator: torch.Generator) -> Tensor:
    rows, features = old.shape
    longer = registry.build("codes", rows + number, features, dtype=old.dtype)
    # Column signs are drawn anew each time; the first row tells them apart.
    longer = longer * torch.sign(longer[0] * old[0])
    if not torch.equal(longer[:rows], old):
        raise RequestError(
            f"grow() cannot go on from {rows} to {rows + number} codes in {features} features: so "
            "many classes need another code; build the head for the classes that are to come"
        )
    return longer[rows:].contiguous()


def _need_room(number: int, room: int, what: str) -> None:
    if number > room:
        raise RequestError(
            f"grow() needs {number} further {what}, and {room} are left; use random or codes for "
            "more classes than that"
        )
