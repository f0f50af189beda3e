"""Validation within `fit`: when it is due, and on what."""


class Validation:
    """Evaluates a model after some of the epochs.

    Args:
        data: `validation_data` of `keras.Model.fit`.
        frequency: `validation_freq`: every so many epochs, or a list of
            epochs, counted from 1.
        **arguments: Of `evaluate`: `batch_size`, `steps`.

    Raises:
        ValueError: if `frequency` is neither.
    """

    def __init__(self, data, frequency, **arguments):
        if not isinstance(frequency, (int, list, tuple, set, range)):
            raise ValueError(
                "Expected `validation_freq` to be a list or int. Received: "
                f"validation_freq={frequency} of the type {type(frequency)}."
            )
        self._data = data
        self._frequency = frequency
        self._arguments = arguments

    def is_due(self, epoch):
        """Whether an epoch, counted from 0, is followed by validation."""
        if isinstance(self._frequency, int):
            return (epoch + 1) % self._frequency == 0
        return epoch + 1 in self._frequency

    def until_due(self, epoch, most):
        """How many epochs, with this one, end before it is due."""
        return next(
            (n for n in range(1, most) if self.is_due(epoch + n - 1)), most
        )

    def logs(self, model, callbacks):
        """Evaluates, and returns the results as `fit` logs them."""
        x, y, sample_weight = self._data
        logs = model.evaluate(
            x=x,
            y=y,
            sample_weight=sample_weight,
            callbacks=callbacks,
            return_dict=True,
            # Keras's name: it may pass through a user's own `evaluate`.
            _use_cached_eval_dataset=True,
            **self._arguments,
        )
        return {f"val_{name}": value for name, value in logs.items()}
