"""Speed and memory of training."""

import os
import pathlib
import sys

import tensorflow as tf

from gdtrain.telemetry.quantity import BlockQuantity, Numbers

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_PROCESS = pathlib.Path("/proc/self/statm")


class ExamplesPerSecond(BlockQuantity):
    """Examples of a block of steps over the seconds that it took.

    Known at the last step of each block.

    Unit: examples per second. Cost: none.

    Example:

    >>> ExamplesPerSecond().measure_block(examples=640, seconds=0.5)
    {'examples_per_second': 1280.0}
    """

    name = "examples_per_second"

    def measure_block(self, examples: float, seconds: float) -> Numbers:
        """The speed of the block."""
        return {self.name: float(examples / seconds)}


class DeviceMemory(BlockQuantity):
    """Bytes in use on the device, at the end of a block of steps.

    On an accelerator, what TensorFlow has allocated there; on a CPU, the
    resident memory of the process (on macOS its peak; on Windows it is
    unknown). With several accelerators, `device_memory/GPU:0` and so on.
    Exact to one part in 2 ** 24, as float32.

    Unit: bytes. Cost: some 10 microseconds for each block.

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
