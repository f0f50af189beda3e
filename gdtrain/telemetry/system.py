"""Speed and memory of training, and how long it waits for its data."""

import os
import pathlib
import sys

import tensorflow as tf

from gdtrain.distributed.reports import Times
from gdtrain.telemetry.quantity import (
    BlockQuantity,
    Measured,
    Numbers,
    Quantity,
)
from gdtrain.telemetry.record import Record

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_PROCESS = pathlib.Path("/proc/self/statm")


class ExamplesPerSecond(BlockQuantity):
    """Examples of a block of steps over the seconds that it took.

        examples_per_second = examples / seconds

    Known at the last step of each block. The first block is slow, as it is
    compiled; a fall later on has a cause outside the model, such as its data,
    callbacks that end blocks, or other programs.

    Columns: `examples_per_second`

    Unit: examples per second.

    Cost: none.

    Example:

    >>> ExamplesPerSecond().measure_block(examples=640, seconds=0.5)
    {'examples_per_second': 1280.0}
    """

    name = "examples_per_second"

    def measure_block(self, examples: float, seconds: float) -> Numbers:
        """The speed of the block."""
        return {self.name: float(examples / seconds)}


class InputWait(Quantity):
    """Seconds that training stood still until it had the batch of the step.

        input_wait = time when the batch was there - time when it was asked for

    The update before has ended by then: where this is much of a step's time,
    training is limited by its data, and a faster model, or device, would not
    make it faster. What a pipeline prepares while steps run (`prefetch`, the
    workers of a `keras.utils.PyDataset`) does not count. 0 for arrays that are
    kept on the device, of which batches are taken within the program, and for
    `train_on_batch`.

    It counts at the step that has the batch, also with `steps_per_execution`,
    and where Python looks ahead for the end of data of unknown length; making
    the iterator of an epoch does not count. Of several workers, each measures
    its own, without what it waits for others, which `Workers` has. A step of
    several updates has it under the name of each.

    Columns: `input_wait`

    Unit: seconds.

    Cost: some microseconds.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> evaluate(InputWait(), input_wait=tf.constant(0.25))
    {'input_wait': 0.25}
    """

    name = "input_wait"
    needs = frozenset({"input_wait"})

    def measure(self, record: Record) -> Measured:
        """The seconds."""
        return {self.name: tf.convert_to_tensor(record.input_wait)}


class Workers(BlockQuantity):
    """How fast each of several workers is, and how long it waits for others.

        workers/examples_per_second/<worker> = examples / (seconds - waiting)
        workers/waiting/<worker> = waiting / seconds

    The first is how many examples the worker would have a second if it waited
    for nobody, the second the share of time that it waits: for gradients of
    others and for their batches, beyond what the all-reduce takes the worker
    which comes to it last. A straggler is the one that waits least, and has the
    fewest examples a second; the log ("gdtrain") names it. Known at the last
    step of each block. Nothing where there is one worker.

    What is not seen is waiting elsewhere: in layers that communicate by
    themselves, such as synchronized batch normalization, and as an epoch ends.

    Columns: `workers/examples_per_second/<worker>`, `workers/waiting/<worker>`

    Unit: examples per second; a share of 1.

    Cost: none.

    Example:

    >>> Workers().measure_block(examples=640, seconds=0.5)
    {}
    """

    name = "workers"

    def measure_block(self, examples: float, seconds: float) -> Numbers:
        """Nothing, of one worker."""
        return {}

    def measure_workers(self, times: Times) -> Numbers:
        """The speed of each worker."""
        shown = {
            "examples_per_second": times.examples_per_second,
            "waiting": times.waiting / times.seconds,
        }
        return {
            f"{self.name}/{what}/{name}": float(value)
            for what, values in shown.items()
            for name, value in zip(times.names, values, strict=True)
        }


class DeviceMemory(BlockQuantity):
    """Bytes in use on the device, at the end of a block of steps.

        device_memory = bytes in use when the block has ended

    Where it grows from epoch to epoch, something is kept that should not be;
    how much is free says whether a larger batch fits.

    On an accelerator, it is what TensorFlow has allocated there; on a CPU, the
    resident memory of the process (on macOS its peak; on Windows it is
    unknown). With several accelerators, `device_memory/GPU:0` and so on.
    Exact to one part in 2 ** 24, as float32.

    Columns: `device_memory`

    Unit: bytes.

    Cost: some 10 microseconds for each block.

    Example:

    >>> DeviceMemory().measure_block(1, 1.0)["device_memory"] > 1e6
    True
    """

    name = "device_memory"

    def measure_block(self, examples: float, seconds: float) -> Numbers:
        """The memory of each device.

        Raises:
            RuntimeError: on a CPU, if the system does not say.
        """
        devices = [
            device.name.removeprefix("/device:")
            for device in tf.config.list_logical_devices("GPU")
        ]
        if not devices:
            return {self.name: float(_resident())}
        in_use = {
            device: float(
                tf.config.experimental.get_memory_info(device)["current"]
            )
            for device in devices
        }
        if len(devices) == 1:
            return {self.name: in_use[devices[0]]}
        return {f"{self.name}/{k}": v for k, v in in_use.items()}


def _resident() -> int:
    """Bytes of memory that the process holds."""
    if _PROCESS.exists():
        pages = int(_PROCESS.read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    if resource is None:
        raise RuntimeError(
            "`DeviceMemory` needs an accelerator, or a system that reports the "
            f"memory of a process. Received: the system {sys.platform!r}. "
            "Leave it out of `quantities`."
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
