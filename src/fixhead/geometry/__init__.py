"""The geometry of class vectors and features: certificates, bounds, scales, collapse, areas."""

from .anchors import ce_at_vectors, ce_floor, equiangular_scale, scale_auto
from .areas import decision_areas, sectors
from .certificate import Certificate, certify
from .class_cosines import cosine_statistics
from .correlation import correlate
from .duality import alignment, gram_distance, self_duality
from .equiangular import equiangularity, equinorm
from .merging import merge, regroup
from .planes import class_plane, principal_plane
from .source import ImplicitVectors
from .statistics import ClassStatistics, absorb_, class_statistics
from .variability import cdnv, nc1

__all__ = [
    "Certificate",
    "ClassStatistics",
    "ImplicitVectors",
    "absorb_",
    "alignment",
    "cdnv",
    "ce_at_vectors",
    "ce_floor",
    "certify",
    "class_plane",
    "class_statistics",
    "correlate",
    "cosine_statistics",
    "decision_areas",
    "equiangular_scale",
    "equiangularity",
    "equinorm",
    "gram_distance",
    "merge",
    "nc1",
    "principal_plane",
    "regroup",
    "scale_auto",
    "sectors",
    "self_duality",
]
