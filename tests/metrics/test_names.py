"""A metric and the function that it is the twin of have one name."""

import inspect
import re

import pytest

from fixhead import metrics
from fixhead.geometry import accuracy, collapse, compactness, correlation, nearest
from fixhead.measures import MEASURES
from fixhead.metrics._states import ExactMetric

FUNCTIONS = (accuracy, collapse, compactness, correlation, nearest)
# Two functions each, or a base and a form of their own that no function has.
WITHOUT = {
    "CalibrationError", "OutOfClassDetection", "PreviousEpochAgreement", "TallyMetric",
    "ClassStatisticsMetric",
}  # fmt: skip
TWINS = sorted(
    name
    for name in metrics.__all__
    if inspect.isclass(getattr(metrics, name)) and issubclass(getattr(metrics, name), ExactMetric)
)


def snake(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("name", sorted({*TWINS} - WITHOUT))
def test_a_metric_is_called_as_its_function(name):
    assert any(callable(getattr(module, snake(name), None)) for module in FUNCTIONS)


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_of_an_entry_of_the_table_is_better_in_its_direction(name):
    twin = getattr(metrics, name)
    if hasattr(twin, "measure"):
        assert snake(name) == twin.measure
        assert twin.higher_is_better is MEASURES[twin.measure].higher_is_better
