"""An observer that keeps the tables it is given."""

import keras
import numpy as np

from gdtrain.telemetry.requests import Asked


class Listener(keras.callbacks.Callback):
    """Asks for quantities, and keeps what it is told.

    Args:
        quantities: A list of quantities.
        stretchable: Whether they may be measured more seldom than asked for.
        budget: The share of time they may take.
    """

    sees = "logs"

    def __init__(self, quantities, stretchable=False, budget=None):
        super().__init__()
        self.requests = [
            Asked(quantity, quantity.every_steps, stretchable)
            for quantity in quantities
        ]
        self.budget = budget
        self.tables = []

    def on_train_begin(self, logs=None):
        self.model.step_observers.attach(self)

    def observe(self, table):
        self.tables.append(table)

    def close(self):
        """Nothing is to be closed."""

    @property
    def _wanted(self):
        return {r.quantity.name: r.every_steps for r in self.requests}

    def values(self, name):
        """What was measured under a name, by step: a dict."""
        found = {}
        for table in self.tables:
            chosen = table.select(self._wanted)
            if name in chosen:
                steps, values = chosen.points(name)
                found.update(zip(steps.tolist(), values, strict=True))
        return found

    def histograms(self, name):
        """Histograms under a name, by step: a dict of arrays."""
        return {
            step: np.asarray(numbers)
            for table in self.tables
            for step, label, numbers in table.histograms(self._wanted)
            if label == name
        }
