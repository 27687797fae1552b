"""fixhead: the classification layer, designed instead of learned."""

__version__ = "0.1.0"
