"""`examples/learning_rates.py`: each rate does what it was chosen for."""

import contextlib
import io
import re

import learning_rates as example
import numpy as np
import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def found(folder):
    """What `main` returns for few epochs, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = example.main([f"--output={folder}", "--epochs=3"])
    return result, printed.getvalue()


@pytest.fixture(scope="module")
def line(found):
    """The runs of the line, in the order of their rates."""
    return list(found[0][2].values())


@pytest.fixture(scope="module")
def network(found):
    """The runs of the network, in the order of their rates."""
    return list(found[0][4].values())


def test_the_limit_is_the_exact_one_and_stands_in_front(found):
    (exact, limit, *_), printed = found
    assert limit == pytest.approx(exact, rel=1e-4)
    first = printed.index("learning rates up to 0.201 are stable")
    assert f"largest curvature: {exact:.4g}." in printed
    assert first < printed.index("\nRate ")


def test_each_rate_of_the_line_is_told_what_it_did(found, line):
    assert [run.verdict.name for run in line] == [
        "learning rate too small",
        "converged",
        "converging",  # It jumps from side to side, and gets there.
        "learning rate too large: diverging",
    ]
    printed = found[1]
    for run in line:
        assert run.verdict.text in printed
    assert "needs 2,000,000 steps" in printed
    assert "is 1.01 times the stable limit 0.201" in printed


def test_no_advice_forgets_the_limit_that_was_measured(found, line):
    _, limit, *_ = found[0]
    for run in line:
        tried = re.search(r"Try ([0-9.e-]*[0-9])", run.verdict.advice)
        if tried:  # Not where it has converged
            assert 0.4 < float(tried[1]) / limit < 0.7
    assert "(measured at step" in line[0].verdict.text


def test_moving_limits_of_the_network_are_told_with_their_steps(found, network):
    (*_, limit, _), printed = found
    of_network = printed.partition("A network that reads digits")[2]
    start = f"The limit was {limit:.3g} before step 1, "
    assert of_network.count(start) == 4
    for run in network:
        limits = run.telemetry["stable_learning_rate"]
        known = np.flatnonzero(np.isfinite(limits))[[0, -1]]
        moved = [f"{limits[i]:.3g} after {i + 1}" for i in known]
        assert start + ", ".join(moved) in of_network
    assert "far over the limit (30 times the limit at first)" in of_network


def test_a_network_far_over_its_limit_is_ruined_and_a_good_one_is_not(
    found, network
):
    first, last = (
        [float(run.telemetry["loss"][at]) for run in network] for at in (0, -1)
    )
    assert last[3] > 10 * first[3]
    assert last[1] < 0.7 * first[1]
    assert network[3].verdict.name == "learning rate too large: overshot"
    printed = found[1].partition("share of digits read right:\n")[2]
    rows = [row.split() for row in printed.splitlines()[:4]]
    rights = [float(right.rstrip("%")) for _, right, *_ in rows]
    assert np.argmin([float(loss) for loss, *_ in rows]) != 3
    assert rights[1] > 70 > rights[3]


def test_both_pictures_are_drawn(found, folder):
    names = ["learning_rates.png", "learning_rates_digits.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("argument", ["--steps=0", "--epochs=many"])
def test_numbers_that_cannot_be_used_are_refused(argument, capsys):
    with pytest.raises(SystemExit) as caught:
        example.main([argument])
    assert caught.value.code == 2
    assert argument.partition("=")[0] in capsys.readouterr().err
