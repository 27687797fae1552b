"""The geometry of class vectors and features: certificates, bounds, scales."""

from ..vectors.rows import ImplicitVectors
from .anchors import ce_at_vectors, ce_floor, scale_auto
from .certificate import Certificate, certify

__all__ = [
    "Certificate",
    "ImplicitVectors",
    "ce_at_vectors",
    "ce_floor",
    "certify",
    "scale_auto",
]
