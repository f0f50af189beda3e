"""`python -m gdtrain diagnose`: what is printed, and how it fails."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import gdtrain
from gdtrain.__main__ import main
from gdtrain.writers.tensorboard import TensorBoardWriter
from tests.diagnosis.descents import bowl, telemetry_of


@pytest.fixture
def run(tmp_path):
    """A file of a training that diverges."""
    path = str(tmp_path / "run.npz")
    telemetry_of(**bowl([12.5], 0.5, 20)).save(path)
    return path


def test_text_is_that_of_the_diagnosis(run, capsys):
    main(["diagnose", run])
    assert capsys.readouterr().out == f"{gdtrain.diagnose(run)}\n"


def test_json_has_all_of_it(run, capsys):
    main(["diagnose", run, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(json.dumps(gdtrain.diagnose(run).as_dict()))
    (found,) = told["verdicts"]
    assert found["evidence"]["stable_learning_rate"] == pytest.approx(0.16)


def write_run(folder, losses):
    """A log folder of a run with these losses."""
    writer = TensorBoardWriter(folder / "train")
    steps = range(1, 1 + len(losses))
    writer.write(steps, ["step/loss"], [[loss] for loss in losses])
    writer.close()


def test_folder_of_several_runs_is_told_run_by_run(tmp_path, capsys):
    write_run(tmp_path / "a" / "large", [2.0**n for n in range(20)])
    write_run(tmp_path / "still", [1.0] * 20)
    stock = TensorBoardWriter(tmp_path / "stock")
    stock.write([1], ["epoch_loss"], [[1.0]])
    stock.close()
    main(["diagnose", str(tmp_path)])
    blocks = capsys.readouterr().out.rstrip().split("\n\n")
    assert [b.splitlines()[0] for b in blocks] == ["a/large", "still", "stock"]
    diverging = str(gdtrain.diagnose(tmp_path / "a" / "large")).splitlines()
    assert blocks[0].splitlines()[1:] == [f"  {line}" for line in diverging]
    assert "none of whose tags begins with 'step/'" in blocks[2]
    main(["diagnose", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["a/large", "still", "stock"]
    assert told["a/large"]["verdicts"] and "error" in told["stock"]


def test_folder_above_a_single_run_is_that_run(tmp_path, capsys):
    write_run(tmp_path / "logs" / "only", [2.0**n for n in range(20)])
    main(["diagnose", str(tmp_path / "logs")])
    found = gdtrain.diagnose(tmp_path / "logs" / "only")
    assert capsys.readouterr().out == f"{found}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagnose", "nowhere"], "'nowhere', looked for from"),
        (["diagnose"], "required: LOGDIR"),
        ([], "required: COMMAND"),
        (["cure", "folder"], "invalid choice: 'cure'"),
    ],
)
def test_errors_are_told_in_a_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_files_of_something_else_and_of_no_steps_are_told_of(tmp_path, capsys):
    np.savez(tmp_path / "other.npz", x=[1])
    telemetry_of(loss=[]).save(tmp_path / "empty.npz")
    for name in ("other", "empty"):
        with pytest.raises(SystemExit):
            main(["diagnose", str(tmp_path / f"{name}.npz")])
        assert f"{name}.npz" in capsys.readouterr().err


def test_it_runs_as_a_module_and_ends_well(run):
    done = subprocess.run(
        [sys.executable, "-m", "gdtrain", "diagnose", run],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("learning rate too large: diverging")


def test_command_shows_none_of_the_lines_that_tensorflow_logs(run):
    """Nobody who runs it can act on them."""
    variables = {**os.environ}
    variables.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        [sys.executable, "-m", "gdtrain", "diagnose", run],
        env=variables | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("learning rate too large"), done.stderr
    assert done.stderr == ""
