"""`tests.benchmarks.photos`: its table, its arguments, and its processes."""

import numpy as np
import pytest

from tests.benchmarks import from_scratch, photos, processes


@pytest.fixture
def sections(monkeypatch):
    """Sections that take no time, one of which fails."""

    def good(given, folder):
        assert folder.is_dir()
        yield photos.at_least("one", 0.5, given.splits / 4, "{:.2f}")
        yield photos.at_most("two", 3, 4.0, "{:.1f} s", " (slow)")

    def bad(given, folder):
        yield photos.Row("three", "", "said")
        raise RuntimeError("no photos")

    monkeypatch.setattr(photos, "SECTIONS", {"bad": bad, "good": good})


def test_a_section_that_fails_does_not_take_the_others_with_it(
    sections, capsys
):
    rows = photos.main(["--splits=3"])
    assert [row.is_reached for row in rows] == [None, False, True, False]
    printed = capsys.readouterr()
    *lines, machine = printed.out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["three", "said"],
        ["bad", "failed:", "no", "photos", "NO"],
        ["one", ">=", "0.50", "0.75", "yes"],
        ["two", "<=", "3.0", "s", "4.0", "s", "(slow)", "NO"],
    ]
    assert "cores" in machine
    assert "Traceback" in printed.err


def test_sections_can_be_chosen(sections):
    assert len(photos.main(["--only", "good"])) == 2
    with pytest.raises(SystemExit):
        photos.main(["--only", "other"])


def test_arguments_are_those_of_the_reported_table():
    given = photos.arguments(["folder"])
    assert (given.first_seed, given.splits, given.photos) == (2000, 20, 2000)
    quick = photos.arguments(["folder", "--quick"])
    assert (quick.first_seed, quick.splits, quick.photos) == (0, 1, 64)


def test_a_call_is_of_a_fresh_process(tmp_path):
    seconds = processes.call("from_scratch.head", photos=20, width=3)
    assert 0 < seconds.value < seconds.seconds
    assert seconds.cpu_seconds > 0
    with pytest.raises(RuntimeError, match="from_scratch.head ended with"):
        processes.call("from_scratch.head", photos=0)


def test_chance_explains_the_error_of_answers_that_are_true():
    random = np.random.default_rng(1)
    sure = random.uniform(0.5, 1, 300)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    errors = []
    for _ in range(50):
        labels = (random.uniform(size=300) > sure).astype(int)
        error, by_chance = from_scratch.calibration_errors(
            probabilities, labels
        )
        errors.append(error)
    assert np.mean(errors) == pytest.approx(by_chance, rel=0.1)
    wrong = np.argmin(probabilities, axis=1)
    assert from_scratch.calibration_errors(probabilities, wrong)[0] > 0.5
