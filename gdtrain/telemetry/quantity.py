"""A quantity: a cheap number measured in the graph at every step."""

import abc


class Quantity(abc.ABC):
    """What a quantity is: a name, and how to measure it from a record.

    A subclass gives both:

    ```python
    class LossSquared(gdtrain.telemetry.Quantity):
        name = "loss_squared"

        def measure(self, record):
            return {"loss_squared": record.loss**2}
    ```

    `measure` runs while the step is traced. It returns a dict of scalar
    tensors: the quantity under its name, and parts of it under
    `name/part`. Its keys must be the same in every trace.
    """

    #: The quantity's word: in logs, TensorBoard tags (`step/<name>`), columns.
    name: str

    @abc.abstractmethod
    def measure(self, record):
        """Scalars of one update.

        Args:
            record: A `gdtrain.telemetry.Record`.

        Returns:
            A dict from name to scalar tensor, cast to float32 afterwards.
        """

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self):
        return hash(type(self))

    def __repr__(self):
        return f"{type(self).__name__}()"
