"""Speed and memory of training."""

import pathlib
import resource
import sys

import tensorflow as tf

from gdtrain.telemetry.quantity import BlockQuantity


class ExamplesPerSecond(BlockQuantity):
    """Examples of a block of steps over the seconds that it took.

    Known at the last step of each block. Cost: none.

    Example:

    >>> ExamplesPerSecond().measure_block(examples=640, seconds=0.5)
    {'examples_per_second': 1280.0}
    """

    name = "examples_per_second"

    def measure_block(self, examples, seconds):
        """`{"examples_per_second": number}`."""
        return {self.name: float(examples / seconds)}


_PROCESS = pathlib.Path("/proc/self/statm")


class DeviceMemory(BlockQuantity):
    """Bytes in use on the device, at the end of a block of steps.

    On an accelerator, what TensorFlow has handed out there; on a CPU, the
    resident memory of the process (its peak, where the system tells no more).
    With several accelerators, `device_memory/GPU:0` and so on. Exact to one
    part in 2 ** 24, as float32. Cost: some 10 microseconds a block.

    Example:

    >>> DeviceMemory().measure_block(1, 1.0)["device_memory"] > 1e6
    True
    """

    name = "device_memory"

    def measure_block(self, examples, seconds):
        """`{"device_memory": bytes}`."""
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


def _resident():
    """Bytes of memory that the process holds."""
    if _PROCESS.exists():
        pages = int(_PROCESS.read_text().split()[1])
        return pages * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
