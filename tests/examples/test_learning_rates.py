"""`examples/learning_rates.py`: each rate does what it was chosen for."""

import contextlib
import io
import re

import learning_rates as example
import numpy as np
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = example.main([f"--pictures={folder}", "--epochs=3"])
    return result, printed.getvalue()


def test_the_limit_is_the_exact_one_and_stands_in_front(found):
    result, printed = found
    assert result.limit == pytest.approx(result.exact_limit, rel=1e-4)
    first = printed.index("learning rates up to 0.201 are stable")
    assert first < printed.index("Learning rate")


def test_each_rate_of_the_line_is_told_what_it_did(found):
    result, printed = found
    names = [run.diagnosis.verdict.name for run in result.line]
    assert names == [
        "learning rate too small",
        "converged",
        "learning rate too large: oscillating",
        "learning rate too large: diverging",
    ]
    for run in result.line:
        assert run.diagnosis.verdict.text in printed
    assert "takes 2,000,000 such steps" in printed
    assert "is 1.01 times the stable limit 0.201" in printed


def test_no_advice_forgets_the_limit_that_was_measured(found):
    result, _ = found
    for run in result.line:
        tried = re.search(r"Try ([0-9.e-]*[0-9])", run.diagnosis.verdict.advice)
        if tried:  # Not where it has converged
            assert 0.4 < float(tried[1]) / result.limit < 0.7
    (too_small, *_) = result.line
    assert "(measured at step" in too_small.diagnosis.verdict.text


def test_moving_limits_of_the_network_are_told_with_their_steps(found):
    result, printed = found
    assert "so does the limit:" in printed
    start = f"The limit was {result.network_limit:.3g} before the first step, "
    assert printed.count(start) == 4
    for run in result.network:
        limits = run.telemetry["stable_learning_rate"]
        steps = run.telemetry.steps
        known = np.isfinite(limits)
        assert f"{limits[known][0]:.3g} after step 1, and " in printed
        assert f"{limits[known][-1]:.3g} after step {steps[known][-1]}" in (
            printed
        )
    assert "far over the limit (30 times the limit at the start)" in printed
    best = min(result.network, key=example.last_loss)
    assert f"has learning rate {best.learning_rate:.3g}." in printed
    assert best is not result.network[3]


def test_a_network_far_over_its_limit_diverges_and_a_good_one_does_not(found):
    result, _ = found
    first, last = (
        [float(run.telemetry["loss"][at]) for run in result.network]
        for at in (0, -1)
    )
    assert last[3] > 10 * first[3]
    assert last[1] < 0.7 * first[1]
    assert "diverging" in result.network[3].diagnosis.verdict.name


def test_both_pictures_are_drawn(found):
    for path in found[0].pictures:
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("argument", ["--steps=0", "--epochs=many"])
def test_numbers_that_cannot_be_used_are_refused(argument, capsys):
    with pytest.raises(SystemExit) as caught:
        example.main([argument])
    assert caught.value.code == 2
    assert "must be a positive integer" in capsys.readouterr().err
