"""Class vectors: constructions → (K, d) tensors of unit rows, from an explicit generator."""

from . import bounds, files, forms
from .choice import Recommendation, best
from .coding import Code, codes, find_code
from .gaussian import random
from .given import from_tensor
from .guided import guided, ring_positions
from .orthogonal import nonnegative_orthogonal, one_hot, orthonormal, orthoplex
from .polytopes import cube, polygon
from .registry import CONSTRUCTIONS, Construction, build
from .simplices import max_separation, simplex
from .spherical import Packing, equiangular, find_packing, spherical_code
from .sylvester import hadamard

__all__ = [
    "CONSTRUCTIONS",
    "Code",
    "Construction",
    "Packing",
    "Recommendation",
    "best",
    "bounds",
    "build",
    "codes",
    "cube",
    "equiangular",
    "files",
    "find_code",
    "find_packing",
    "forms",
    "from_tensor",
    "guided",
    "hadamard",
    "max_separation",
    "nonnegative_orthogonal",
    "one_hot",
    "orthonormal",
    "orthoplex",
    "polygon",
    "random",
    "ring_positions",
    "simplex",
    "spherical_code",
]
