"""`python -m gdtrain explain`: what it prints, and how fast."""

import os
import re
import subprocess
import sys

import pytest

from gdtrain import explain
from gdtrain.__main__ import main
from gdtrain.common import explained
from gdtrain.diagnosis import entries
from gdtrain.diagnosis.diagnose import JUDGES, NAMES
from gdtrain.telemetry import presets


def run(*arguments):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gdtrain", "explain", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("topic", explained.topics())
def test_page_is_printed_without_markup_of_links(topic, capsys):
    main(["explain", topic])
    printed = capsys.readouterr().out
    assert printed.startswith(f"# {explained.topics()[topic]}\n")
    assert "](" not in printed
    if "](../" in explained.page(topic):
        assert " (docs/" in printed


def test_verdicts_are_those_of_diagnose_with_the_docstrings_of_their_files():
    assert set(entries.docstrings()) == set(NAMES)
    for name, text in entries.docstrings().items():
        module = sys.modules[JUDGES[name].__module__]
        assert module.__doc__.startswith(text.partition("\n")[0])
        assert explain.text_of(name) == f"# {name}\n\n{text}"
        assert not re.search(r"\{[A-Z]", text), "a threshold is not filled in"


def test_quantities_are_those_of_telemetry_with_their_docstrings():
    full = {one.name: type(one) for one in presets.PRESETS["full"]}
    assert set(explain.quantities()) == set(full)
    for name, text in explain.quantities().items():
        assert full[name].__doc__.startswith(text.partition("\n")[0])
        assert explain.text_of(name) == f"# {name}\n\n{text}"


def test_names_without_quotes_are_one_name(capsys):
    main(["explain", "dead", "layer"])
    assert capsys.readouterr().out.startswith("# dead layer\n")


def test_without_a_name_all_are_listed_in_a_line_each(capsys):
    main(["explain"])
    lines = capsys.readouterr().out.splitlines()
    names = [*explained.topics(), *NAMES, *explain.quantities()]
    for name in names:
        assert [line for line in lines if line.startswith(f"  {name} ")], name
    assert len(lines) == len(names) + 5  # Three titles


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("worker-lots", "worker-lost"),
        ("gradient norm", "gradient_norm"),
        ("Diverging", "learning rate too large: diverging"),
        ("labels of the output must be class numbers", "labels"),
        ("Step 2 was not finite: y has NaN for 1 of 4 examples", "nonfinite"),
    ],
)
def test_unknown_name_suggests_near_ones(name, near, capsys):
    with pytest.raises(SystemExit) as error:
        main(["explain", name])
    assert error.value.code == 2
    said = capsys.readouterr().err
    assert repr(name) in said and near in said.partition("Near it: ")[2]


def test_name_that_is_like_nothing_is_said_to_be(capsys):
    with pytest.raises(SystemExit):
        main(["explain", "zzz"])
    said = capsys.readouterr().err
    assert "Near it" not in said and "lists all" in said


def test_it_needs_no_tensorflow(tmp_path):
    """Which takes seconds to be imported, and is no part of the answer."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not this')")
    done = subprocess.run(
        [sys.executable, "-m", "gdtrain", "explain", "worker-lost"],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("# A worker is lost\n"), done.stderr
    assert not done.stderr


def test_reader_of_its_output_may_end_first():
    """As `head` does."""
    command = f"{sys.executable} -m gdtrain explain | true"
    done = subprocess.run(
        ["bash", "-c", command],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
