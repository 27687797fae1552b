"""Timings of a head's step beside the alternatives."""
