"""What is written for TensorBoard is what TensorBoard reads."""

import glob
import shutil
import socket

import numpy as np
import pytest
from tensorboard.backend.event_processing import (
    event_accumulator,
    event_file_loader,
    plugin_event_accumulator,
)
from tensorboard.compat.proto import event_pb2

from gdtrain.writers import summaries
from gdtrain.writers.tensorboard import TensorBoardWriter
from tests.full_disk import files_up_to

ODD = [0.0, -1.5, np.nan, np.inf, -np.inf, 1e-40]


def read(folder):
    """All scalars of a folder: `{tag: [(step, value), ...]}`."""
    events = event_accumulator.EventAccumulator(
        str(folder), size_guidance={"scalars": 0}
    ).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def read_by_server(folder):
    """Steps of all tags by the loader that TensorBoard's server has."""
    loader = plugin_event_accumulator.EventAccumulator(str(folder)).Reload()
    return {
        tag: [event.step for event in loader.Tensors(tag)]
        for tag in loader.Tags()["tensors"]
    }


def write(folder, steps, value=1.0, tag="loss", **options):
    """One attempt at a run."""
    writer = TensorBoardWriter(folder, **options)
    writer.write(steps, [tag], np.full([len(steps), 1], value))
    writer.close()


def message(seconds, step, names, values):
    """The event that protobuf itself makes."""
    event = event_pb2.Event(wall_time=seconds, step=step)
    for name, value in zip(names, values, strict=True):
        event.summary.value.add(tag=name, simple_value=value)
    return event


def random_names(random, count):
    """Tags of all lengths that a varint may need two bytes for."""
    letters = list("abcdefghij/_ é漢")
    return [
        f"{index}" + "".join(random.choice(letters, random.integers(200)))
        for index in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("masked", [False, True])
def test_event_bytes_parse_to_what_protobuf_would_have_made(seed, masked):
    random = np.random.default_rng(seed)
    names = random_names(random, random.integers(1, 60))
    steps = random.integers(-(2**63), 2**63 - 1, 20)
    steps[:5] = 0, 1, 127, 2**32, 2**63 - 1
    values = random.choice(np.float32(ODD), [20, len(names)])
    measured = np.ones(values.shape, bool)
    if masked:
        measured &= random.random([1, len(names)]) < 0.7
        measured[random.random(20) < 0.5] &= random.random(len(names)) < 0.3
        measured[3] = False
    made = summaries.serialize(
        1234.5, steps, names, values, measured if masked else None
    )
    expected = [
        message(1234.5, int(step), np.array(names)[chosen], row[chosen])
        for step, row, chosen in zip(steps, values, measured, strict=True)
        if chosen.any()
    ]
    assert len(made) == len(expected)
    for data, event in zip(made, expected, strict=True):
        # As canonical bytes, in which two NaN are equal
        parsed = event_pb2.Event.FromString(data)
        assert parsed.SerializeToString() == event.SerializeToString()


def test_event_file_gives_back_every_value_at_its_step(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 3)).astype("float32")
    steps = np.arange(1, 501) * 10**10  # Steps beyond int32
    writer = TensorBoardWriter(tmp_path, clock=lambda: 1234.5)
    writer.write(steps[:200], ["a", "b/c", "d"], values[:200])
    writer.write(steps[200:], ["a", "b/c", "d"], values[200:])
    writer.close()
    scalars = read(tmp_path)
    for column, tag in enumerate(["a", "b/c", "d"]):
        assert scalars[tag] == [
            (step, float(value))
            for step, value in zip(steps, values[:, column], strict=True)
        ]


def test_rows_that_are_written_in_parts_are_all_there(tmp_path):
    rows, names = 1000, [f"tag{i}" for i in range(100)]
    values = np.arange(rows * 100).reshape(rows, 100)
    measured = np.broadcast_to(values % 7 > 0, values.shape)
    writer = TensorBoardWriter(tmp_path)
    writer.write(np.arange(rows), names, values, measured)
    writer.close()
    scalars = read(tmp_path)
    for column in (0, 57, 99):
        assert scalars[names[column]] == [
            (step, values[step, column])
            for step in range(rows)
            if measured[step, column]
        ]


def test_event_file_keeps_numbers_that_are_not_finite(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    measured = [[True, True, False]]
    names = ["nan", "inf", "none"]
    writer.write([1], names, [[np.nan, -np.inf, np.nan]], measured)
    writer.close()
    scalars = read(tmp_path)
    assert np.isnan(scalars["nan"][0][1])
    assert scalars["inf"] == [(1, -np.inf)]
    assert "none" not in scalars


def test_flushed_events_can_be_read_while_the_file_is_open(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    writer.write([1], ["loss"], [[0.5]])
    writer.flush()
    assert read(tmp_path) == {"loss": [(1, 0.5)]}
    writer.close()


def test_nothing_written_makes_no_file(tmp_path):
    writer = TensorBoardWriter(tmp_path / "run", first_step=0)
    writer.write([], ["loss"], np.zeros([0, 1]))
    writer.write([1], ["loss"], [[0.5]], [[False]])
    writer.flush()
    writer.close()
    assert not (tmp_path / "run").exists()


def test_writing_continues_after_close(tmp_path):
    writer = TensorBoardWriter(tmp_path, first_step=1, clock=lambda: 5.0)
    for step in (1, 2):
        writer.write([step], ["loss"], [[0.5]])
        writer.close()
        writer.close()
    assert read(tmp_path) == {"loss": [(1, 0.5), (2, 0.5)]}


def test_two_writers_in_one_second_have_files_of_their_own(tmp_path):
    for value in (1.0, 2.0):
        write(tmp_path, [1], value, clock=lambda: 5.0)
    assert len(glob.glob(f"{tmp_path}/*tfevents*")) == 2


def test_many_files_of_one_second_are_read_in_order(tmp_path):
    steps = list(range(1, 13))  # Across 9, 10, 11, wherever the count stands
    for step in steps:
        for _ in range(9):
            write(tmp_path / "other", [1])
        write(tmp_path / "run", [step], clock=lambda: 5.0)
    assert [step for step, _ in read(tmp_path / "run")["loss"]] == steps


def test_attempt_on_another_computer_comes_after_those_before(
    tmp_path, monkeypatch
):
    for host, clock in [("b", 9.0), ("a", 5.0), ("a", 9.0)]:
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        write(tmp_path, [1], clock, first_step=0, clock=lambda at=clock: at)
        assert read(tmp_path)["loss"] == [(1, clock)]
        assert read_by_server(tmp_path)["loss"] == [1]


def test_summary_is_added_among_the_scalars(tmp_path):
    writer = TensorBoardWriter(tmp_path, clock=lambda: 5.0)
    writer.write([1], ["loss"], [[0.5]])
    writer.add(2**40, summaries.text("note", "hello"))
    writer.close()
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    (event,) = events.Tensors("note")
    assert (event.step, event.wall_time) == (2**40, 5.0)
    assert event.tensor_proto.string_val[0] == b"hello"


def test_new_attempt_is_marked_before_all_that_it_writes(tmp_path):
    write(tmp_path, [7], first_step=7)
    (path,) = glob.glob(f"{tmp_path}/*tfevents*")
    first, *marks, last = event_file_loader.LegacyEventFileLoader(path).Load()
    assert first.file_version == "brain.Event:2"
    assert {(mark.session_log.status, mark.step) for mark in marks} == {
        (event_pb2.SessionLog.START, 7)
    }
    assert last.HasField("summary")


@pytest.mark.parametrize("first_step", [None, 0, 1])
def test_new_attempt_takes_the_place_of_the_old_points(tmp_path, first_step):
    write(tmp_path, range(1, 9), first_step=first_step, clock=lambda: 1.0)
    write(tmp_path, range(5, 8), 2.0, first_step=5, clock=lambda: 2.0)
    steps = list(range(1, 8))
    values = [1.0] * 4 + [2.0] * 3
    assert read(tmp_path)["loss"] == list(zip(steps, values, strict=True))
    assert read_by_server(tmp_path)["loss"] == steps


def test_fresh_run_clears_the_folder_for_tensorboard(tmp_path):
    write(tmp_path, range(9), tag="old", clock=lambda: 1.0)
    write(tmp_path, [3], tag="new", first_step=0, clock=lambda: 2.0)
    assert read(tmp_path) == {"old": [], "new": [(3, 1.0)]}
    assert read_by_server(tmp_path) == {"old": [], "new": [3]}


def test_deleted_folder_is_noticed_and_made_again_later(tmp_path):
    writer = TensorBoardWriter(tmp_path / "run")
    writer.write([1], ["loss"], [[0.5]])
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(OSError, match="must stay in place.*No such file"):
        writer.flush()
    writer.flush()
    writer.write([2], ["loss"], [[0.5]])
    writer.close()
    assert read(tmp_path / "run") == {"loss": [(2, 0.5)]}


def test_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="must stay in place"):
        write(tmp_path / "file" / "run", [1])


def test_full_disk_is_an_error_and_what_was_written_is_kept(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    tags, step = [f"tag{i}" for i in range(50)], 0
    with files_up_to(50_000):
        with pytest.raises(OSError, match="(?s)room on its.*File too large"):
            for step in range(100):
                writer.write([step], tags, np.ones([1, 50]))
                writer.flush()
        writer.write([1000], ["later"], [[0.5]])
        writer.close()
    scalars = read(tmp_path)
    assert [s for s, _ in scalars["tag49"]] == list(range(step))
    assert scalars["later"] == [(1000, 0.5)]
