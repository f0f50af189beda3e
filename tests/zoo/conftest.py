"""A compiled line and runs of it on disk, made once."""

import pytest

from tests.zoo import folder, making
from tests.zoo.sweep import labelled, sweep
from tests.zoo.training import Setup

LINE = Setup("build", "plane linear", "descent", None, "constant", 60)


@pytest.fixture(scope="session")
def bench():
    """A `Bench` of a linear model."""
    return making.bench_of(LINE)


@pytest.fixture(scope="session")
def runs(bench, tmp_path_factory):
    """Its kept runs at nine learning rates."""
    path = str(tmp_path_factory.mktemp("zoo") / "line")
    made = labelled(sweep(bench, 0, 0.1))
    assert folder.make(path, LINE, lambda: made)
    return folder.runs(path)
