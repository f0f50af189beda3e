"""How fast training goes."""

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
