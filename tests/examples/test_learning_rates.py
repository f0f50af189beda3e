"""`examples/learning_rates.py`: each rate does what it was chosen for."""

import contextlib
import io

import learning_rates as example
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
    assert "this brings it in 2,000,000" in printed
    assert "is 1.01 times the stable limit 0.201" in printed


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
