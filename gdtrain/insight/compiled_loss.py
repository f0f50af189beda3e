"""The compiled loss of a model, found without leaving a trace in it."""

import keras

from gdtrain import keras_bridge


def check(model):
    """Refuses a model whose loss cannot be had.

    Raises:
        RuntimeError: if it is not compiled or not built.
        ValueError: if it has no trainable weights.
    """
    is_compiled = getattr(model, "compiled", False)
    if not is_compiled or not model.built:
        raise RuntimeError(
            "The model must be built and compiled with a loss. Received: "
            f"model {model.name!r}, which is not "
            f"{'built' if is_compiled else 'compiled'}. Call "
            "`model.compile(optimizer, loss)`, and `model(x[:1])`."
        )
    if not model.trainable_variables:
        raise ValueError(
            "The model must have trainable weights. Received: model "
            f"{model.name!r} with none. Set `trainable = True` on a layer."
        )


def check_parts(model, examples, batch_size):
    """Refuses a loss that is a sum where a mean over parts is taken.

    Raises:
        ValueError: if there is one, and there are several parts.
    """
    if examples <= batch_size:
        return
    for loss in keras.tree.flatten(model.loss):
        if getattr(loss, "reduction", None) == "sum":
            raise ValueError(
                "A loss over several parts must be a mean over examples. "
                f"Received: {type(loss).__name__}(reduction='sum') with "
                f"{examples} examples and batch_size={batch_size}. Pass "
                f"batch_size={examples}, or compile with "
                "reduction='sum_over_batch_size'."
            )


def of(model, batch, state, training):
    """The loss of a batch, regularisation included, a scalar.

    Args:
        model: A `keras.Model`, compiled.
        batch: As `train_step` receives it.
        state: Values to use in the place of variables: a list of
            `(variable, tensor)`.
        training: The mode of dropout and batch normalization.

    Raises:
        ValueError: if the model has no loss.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    # Whatever layers and metrics assign in the scope is dropped on leaving.
    with (
        keras_bridge.computing_in_float32(model),
        keras_bridge.loss_scaling(_undivided, _undivided),
        keras.StatelessScope(state, collect_losses=True),
    ):
        y_pred = model(x, training=training)
        _check_loss(model)
        return keras_bridge.compute_loss(
            model, x, y, y_pred, sample_weight, training
        )


def _check_loss(model):
    """Refuses a model without a loss; layers have added theirs by now."""
    is_plain = type(model).compute_loss is keras.Model.compute_loss
    if is_plain and not model.loss and not model.losses:
        raise ValueError(
            f"The model must have a loss. Received: model {model.name!r}, "
            f"compiled with loss={model.loss!r}. Call "
            "`model.compile(optimizer, loss)`, or override `compute_loss`."
        )


def _undivided(loss):
    """A loss as it is, also within the scope of several replicas."""
    return loss
