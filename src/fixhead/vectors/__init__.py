"""Class vectors: constructions → (K, d) tensors of unit rows, from an explicit generator."""

from . import bounds, code_families
from .block_codes import BlockCode, block_code, block_codes
from .coding import Code, codes, find_code
from .gaussian import random
from .given import from_tensor, load_vectors, save_vectors
from .guided import guided, ring_positions
from .orthogonal import nonnegative_orthogonal, one_hot, orthonormal, orthoplex
from .polytopes import cube, max_separation, polygon, simplex
from .registry import CONSTRUCTIONS, Construction, Recommendation, best, build
from .spherical import Packing, equiangular, find_packing, spherical_code
from .sylvester import hadamard

__all__ = [
    "CONSTRUCTIONS",
    "BlockCode",
    "Code",
    "Construction",
    "Packing",
    "Recommendation",
    "best",
    "block_code",
    "block_codes",
    "bounds",
    "build",
    "code_families",
    "codes",
    "cube",
    "equiangular",
    "find_code",
    "find_packing",
    "from_tensor",
    "guided",
    "hadamard",
    "load_vectors",
    "max_separation",
    "nonnegative_orthogonal",
    "one_hot",
    "orthonormal",
    "orthoplex",
    "polygon",
    "random",
    "ring_positions",
    "save_vectors",
    "simplex",
    "spherical_code",
]
