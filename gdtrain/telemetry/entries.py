"""What is documented of each quantity."""

from gdtrain.common.entries import Entry, parse
from gdtrain.telemetry import presets
from gdtrain.telemetry.quantity import Quantity

#: The parts of the docstring of a quantity.
LABELS = ("Columns", "Unit", "Cost", "References", "Example")


def entries() -> dict[str, tuple[Quantity, Entry]]:
    """Each quantity of the preset "full" with its `Entry`, by name.

    Example:

    >>> quantity, entry = entries()["gradient_norm"]
    >>> quantity.preset, entry.parts["Unit"]
    ('standard', 'that of the loss per weight.')
    """
    return {
        quantity.name: (quantity, parse(type(quantity).__doc__ or "", LABELS))
        for quantity in presets.PRESETS["full"]
    }
