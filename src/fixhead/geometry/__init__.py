"""The geometry of class vectors and features: certificates, bounds, scales, collapse, areas."""

from ..vectors.rows import ImplicitVectors
from .anchors import ce_at_vectors, ce_floor, equiangular_scale, probability_bound, scale_auto
from .certificate import Certificate, certify
from .class_cosines import cosine_statistics
from .collapse import (
    alignment,
    cdnv,
    equiangularity,
    equinorm,
    gram_distance,
    nc1,
    self_duality,
)
from .correlation import cosine_confusion
from .planes import class_plane, decision_areas, principal_plane, sectors
from .statistics import ClassStatistics, class_statistics, merge, regroup, update_

__all__ = [
    "Certificate",
    "ClassStatistics",
    "ImplicitVectors",
    "alignment",
    "cdnv",
    "ce_at_vectors",
    "ce_floor",
    "certify",
    "class_plane",
    "class_statistics",
    "cosine_confusion",
    "cosine_statistics",
    "decision_areas",
    "equiangular_scale",
    "equiangularity",
    "equinorm",
    "gram_distance",
    "merge",
    "nc1",
    "principal_plane",
    "probability_bound",
    "regroup",
    "scale_auto",
    "sectors",
    "self_duality",
    "update_",
]
