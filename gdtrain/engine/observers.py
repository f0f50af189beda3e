"""Who is told of every step."""

import contextlib

from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.table import Table


class Observers:
    """Numbers the steps and tells whoever asked, in order.

    A step is an update; one that a loss-scaling optimizer skips counts too.

    An observer has `quantities`, a tuple of what it wants measured;
    `observe(table)`, called after each block with a `Table` whose values may
    still be on their way; and `close()`, called once when training ends,
    normally or by an exception.
    """

    def __init__(self):
        self.steps_done = 0
        self._attached = []

    def __deepcopy__(self, memo):
        return Observers()  # A copied model is watched by nobody yet.

    @property
    def quantities(self):
        """All that they want measured, a tuple without repetition.

        Raises:
            ValueError: if two different quantities share a name.
        """
        by_name: dict[str, Quantity] = {}
        for observer in self._attached:
            for quantity in observer.quantities:
                other = by_name.setdefault(quantity.name, quantity)
                if other != quantity:
                    raise ValueError(
                        "Two different quantities share the name "
                        f"{quantity.name!r}: {other!r} and {quantity!r}. "
                        "Give one of them another `name`."
                    )
        return tuple(by_name.values())

    def attach(self, observer):
        """Adds an observer, if it is not there yet."""
        if observer not in self._attached:
            self._attached.append(observer)

    def begin(self, steps_done):
        """Goes on after at least so many steps, as in a loaded model."""
        self.steps_done = max(self.steps_done, steps_done)

    def observe(self, columns, rows):
        """Passes steps on.

        Args:
            columns: A tuple of `Column`.
            rows: Float32 of shape `[steps, numbers]`.
        """
        table = Table(self.steps_done + 1, columns, rows)
        self.steps_done += rows.shape[0]
        for observer in self._attached:
            observer.observe(table)

    @contextlib.contextmanager
    def closed_at_end(self):
        """Closes, at the end, the observers attached in the meantime."""
        before = list(self._attached)
        try:
            yield
        finally:
            added = [o for o in self._attached if o not in before]
            self._attached = before
            with contextlib.ExitStack() as stack:
                # The stack closes all of them even if one raises.
                for observer in reversed(added):
                    stack.callback(observer.close)
