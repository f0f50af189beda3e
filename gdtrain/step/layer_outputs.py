"""Listens to what layers put out, for quantities that ask for it."""

import contextlib

from gdtrain.keras_bridge import layers
from gdtrain.step import step_context
from gdtrain.telemetry.layer_names import path_within


def noted(model, groups):
    """A context in which the step that runs is told what layers put out.

    Of layers with weights of their own, and of activations.

    Args:
        model: The model.
        groups: The `Group`s of quantities to measure.
    """
    if not any(
        "activations" in quantity.needs
        for group in groups
        for quantity in group.quantities
    ):
        return contextlib.nullcontext()

    def note(layer, output):
        step_context.current().telemetry.notes.note_output(
            path_within(layer.path or layer.name, model.name), output
        )

    return layers.observe_outputs(model, note)
