"""What one writer cannot do does not keep the others from theirs."""

import warnings

import pytest

from gdtrain.writers.memory import MemoryWriter
from gdtrain.writers.writer import MultiWriter


class Failing(MemoryWriter):
    """Fails in one of its methods, and counts the calls of all."""

    def __init__(self, method):
        super().__init__()
        self.calls = 0
        self._method = method

    def _count(self, method):
        self.calls += 1
        if method == self._method:
            raise OSError(28, "No space left on device")

    def write(self, *args):
        self._count("write")
        super().write(*args)

    def flush(self):
        self._count("flush")

    def close(self):
        self._count("close")


def test_each_gets_everything():
    writers = [Failing(None), MemoryWriter()]
    multi = MultiWriter(writers)
    multi.write([1], ["a", "b"], [[1, 2]], [[True, False]])
    multi.flush()
    multi.close()
    for writer in writers:
        assert writer.table.points("a")[1].tolist() == [1]
        assert writer.table.points("b")[1].tolist() == []
    assert writers[0].calls == 3


@pytest.mark.parametrize("method", ["write", "flush", "close"])
def test_one_that_fails_warns_once_and_gets_nothing_more(method):
    failing, sound = Failing(method), MemoryWriter()
    multi = MultiWriter([failing, sound])
    with pytest.warns(
        UserWarning, match="`Failing` is skipped.*full"
    ) as caught:
        for step in (1, 2):
            multi.write([step], ["a"], [[step]])
            multi.flush()
            multi.close()
    assert len(caught) == 1
    assert failing.calls == ["write", "flush", "close"].index(method) + 1
    assert sound["a"].tolist() == [1, 2]


def test_others_continue_where_warnings_are_errors(capsys):
    sound = MemoryWriter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MultiWriter([Failing("write"), sound]).write([1], ["a"], [[1]])
    assert sound["a"].tolist() == [1]
    assert "skipped" in capsys.readouterr().err
