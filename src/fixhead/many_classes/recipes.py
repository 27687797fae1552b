"""An implicit code in a few words: what a checkpoint holds in place of a (K, d) matrix.

The words are JSON: the family with its m (and the seed of drawn signs), K, the column signs and the
columns that are used, as bits in hexadecimal. The diagonals follow from them; their digest says
whether they are those that were saved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .._errors import RequestError
from ..vectors.forms import Family, algebraic, random_signs
from ..vectors.implicit import CodeVectors
from .vectors import Codes


def words_of(codes: Codes) -> dict[str, Any]:
    """What ``codes_from`` needs to make the same vectors again."""
    code = codes.code
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
        "construction": codes.construction,
    }


def codes_from(words: Mapping[str, Any]) -> Codes:
    """The code that these words describe.

    Raises:
        RequestError: words that describe none.
    """
    try:
        family = _family(words["family"], int(words["m"]), words["seed"])
        columns = None
        if words["columns"] is not None:
            columns = _bits(words["columns"], family.features).nonzero().squeeze(1)
        width = family.features if columns is None else len(columns)
        signs = 1.0 - 2.0 * _bits(words["signs"], width).float()
        classes = int(words["classes"])
        if family.largest is not None and not 2 <= classes <= family.largest:
            raise ValueError(f"{classes} classes of {family.largest}")
        code = CodeVectors(family, classes, signs, columns)
        return Codes(code, construction=str(words["construction"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"the description of an implicit code cannot be read: {error}") from None


def digest(codes: Codes) -> str:
    """SHA-256 of K, d, the diagonals' bits, the column signs and the columns."""
    columns = codes.code.columns
    parts = [codes.bits, codes.code.signs.to(torch.int8)]
    parts += [] if columns is None else [columns.to(torch.int64)]
    code = hashlib.sha256(f"{codes.shape}".encode())
    for part in parts:
        # torch's own bytes: the core does not need NumPy
        code.update(bytes(part.cpu().contiguous().view(torch.uint8).untyped_storage()))
    return code.hexdigest()


def grown(codes: Codes, classes: int) -> Codes:
    """The same code for more classes: the vectors that are there stay where they are.

    A family goes on in its own next block, or in the next family that begins with its blocks.

    Raises:
        RequestError: no more classes than there are, or no family that goes on.
    """
    old = codes.code
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
        name = codes.construction.replace(old.family.name, family.name)
        longer = Codes(code, construction=name)
        if _goes_on(codes, longer):
            return longer.to(codes.bits.device)
    raise RequestError(
        f"grow() cannot go on from {old.classes} to {classes} {codes.construction} codes in "
        f"{codes.features} features without moving them; build the head for the classes that are "
        "to come, or with vectors='implicit:random', which has no end"
    )


def _further(family: Family) -> list[Family]:
    if family.seed is not None:
        return [family]
    known = algebraic(family.m)
    place = [one.name for one in known].index(family.name)
    return known[place:]


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
    found = f"{int(text, 16):0{width}b}"
    if len(found) != width:
        raise ValueError(f"{len(found)} bits in place of {width}")
    return torch.tensor([int(bit) for bit in found], dtype=torch.uint8)
