"""Class vectors as they come, dense or implicit; at home in ``fixhead.vectors.rows``."""

from ..vectors.rows import ImplicitVectors, RowSource, Vectors

__all__ = ["ImplicitVectors", "RowSource", "Vectors"]
