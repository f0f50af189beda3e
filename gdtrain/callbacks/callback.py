"""What all callbacks of gdtrain have in common."""

import keras

from gdtrain.keras_bridge import callbacks


class Callback(keras.callbacks.Callback):
    """A callback that can be pickled and copied, before and after `fit`.

    What it was given and what it measured come along. Its model does not, as
    many models cannot be pickled; nor do open files, locks and threads. All
    of these are made again by the next `fit`. A callback that holds more of
    that kind leaves it out in a `__getstate__` of its own.
    """

    def __getstate__(self):
        return callbacks.without_model(self)
