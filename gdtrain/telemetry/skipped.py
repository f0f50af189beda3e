"""Says what cannot be measured, and why."""

import functools
import logging

_log = logging.getLogger("gdtrain")


@functools.cache
def say_no_update(model_name: str, names: tuple[str, ...]) -> None:
    """Logs that nothing is measured, as a step makes no update.

    Args:
        model_name: The name of the model.
        names: Names of the quantities that were asked for.
    """
    _log.warning(
        "The quantities %s of %s are left out, as its `train_step` makes no "
        "update that can be measured. Call `self.descend(tape, loss)` in it, "
        "or the `apply` of a Keras optimizer.",
        ", ".join(names),
        model_name,
    )
