"""A callback that keeps the tables it is given."""

import numpy as np

import gdtrain
from gdtrain.telemetry.requests import Request


class Listener(gdtrain.callbacks.Callback):
    """Asks for quantities, and keeps the tables.

    Args:
        quantities: A list of quantities.
        stretchable: Whether they may be measured less often than requested.
        budget: The share of time they may take.
    """

    def __init__(self, quantities, stretchable=False, budget=None):
        super().__init__()
        self.quantities = tuple(quantities)
        self.stretchable = stretchable
        self.budget = budget
        self.tables = []

    @property
    def requests(self):
        return [
            Request(quantity, quantity.every_steps, self.stretchable)
            for quantity in self.quantities
        ]

    def on_block(self, table):
        self.tables.append(table)

    def values(self, name):
        """What was measured under a name, by step: a dict."""
        found = {}
        for table in self.tables:
            chosen = table.select(self.wanted)
            if name in chosen:
                steps, values = chosen.points(name)
                found.update(zip(steps.tolist(), values, strict=True))
        return found

    def histograms(self, name):
        """Histograms under a name, by step: a dict of arrays."""
        return {
            step: np.asarray(numbers)
            for table in self.tables
            for step, label, numbers in table.histograms(self.wanted)
            if label == name
        }
