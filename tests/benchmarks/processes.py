"""Calls of functions of this folder, each in a fresh process, and timed."""

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any, NamedTuple


class Call(NamedTuple):
    """What a function returned, and what its process took.

    Args:
        value: What it returned, as JSON has it.
        seconds: From the start of Python to its end.
        cpu_seconds: Of all cores together.
    """

    value: Any
    seconds: float
    cpu_seconds: float


def call(function, environment=None, **arguments):
    """Calls a function in a fresh process.

    Args:
        function: Its module and name: `"hot_dog.tune"`.
        environment: Variables to set. Defaults to `None`, none.
        **arguments: What JSON can hold.

    Raises:
        RuntimeError: if it fails, after what it has to say on standard error.
    """
    command = [sys.executable, "-m", __name__, function, json.dumps(arguments)]
    variables = {"TF_CPP_MIN_LOG_LEVEL": "3"} | (environment or {})
    cpu, start = _cpu_seconds(), time.perf_counter()
    done = subprocess.run(
        command, stdout=subprocess.PIPE, env=os.environ | variables
    )
    seconds, cpu = time.perf_counter() - start, _cpu_seconds() - cpu
    if done.returncode:
        raise RuntimeError(f"{function} ended with code {done.returncode}.")
    return Call(json.loads(done.stdout.splitlines()[-1]), seconds, cpu)


def _cpu_seconds():
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(function, arguments):
    """Prints what a function returns, on the last line."""
    module, _, name = function.rpartition(".")
    module = importlib.import_module(f"tests.benchmarks.{module}")
    print("\n" + json.dumps(getattr(module, name)(**json.loads(arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
