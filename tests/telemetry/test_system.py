"""Speed and memory, on systems that say less than Linux."""

import importlib.util
import pathlib
import sys

import pytest

from gdtrain.telemetry import system


def without_resource(monkeypatch):
    """A copy of the module, imported where `resource` is missing."""
    monkeypatch.setitem(sys.modules, "resource", None)
    spec = importlib.util.spec_from_file_location("system", system.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_module_is_imported_where_resource_is_missing(monkeypatch):
    module = without_resource(monkeypatch)
    assert module.ExamplesPerSecond().measure_block(64, 0.5) == {
        "examples_per_second": 128.0
    }


def test_memory_that_the_system_does_not_say_is_an_error(monkeypatch):
    module = without_resource(monkeypatch)
    monkeypatch.setattr(module, "_PROCESS", pathlib.Path("/no such file"))
    with pytest.raises(RuntimeError, match="`DeviceMemory` needs"):
        module.DeviceMemory().measure_block(64, 0.5)


def test_memory_is_the_peak_where_there_is_no_proc(monkeypatch):
    now = system.DeviceMemory().measure_block(64, 0.5)["device_memory"]
    monkeypatch.setattr(system, "_PROCESS", pathlib.Path("/no such file"))
    peak = system.DeviceMemory().measure_block(64, 0.5)["device_memory"]
    assert peak > 0.5 * now > 1e6
