"""What of a model its compiled programs depend on.

Keras makes one function of `train_step`, which keeps what it was traced with
until `compile` or `make_train_function(force=True)`, or until a batch of
another shape has it traced anew. Here are several programs, made at several
times. So that it never matters which of them is there already, what is
listed here is part of the key of a program: whatever is changed of it, by a
callback or between two calls of `fit`, counts from the next block of steps on.

Everything else that a step reads in Python, such as an attribute of a layer,
is a constant of the program. After a change of it, call
`make_train_function(force=True)`, as in Keras.
"""

from gdtrain import keras_bridge


class Same:
    """A hashable reference to an object, equal to those to the same object.

    Weights compare by their values, and an id may be used again once an
    object is gone; this keeps the object.

    Example:

    >>> one, other = [1], [1]
    >>> Same(one) == Same(one), Same(one) == Same(other)
    (True, False)
    """

    __slots__ = ("_thing",)

    def __init__(self, thing):
        self._thing = thing

    def __eq__(self, other):
        return isinstance(other, Same) and self._thing is other._thing

    def __hash__(self):
        return id(self._thing)


def of(model):
    """The settings of a model that its programs depend on, a hashable tuple.

    Args:
        model: A `DescentTrainer`.
    """
    return (
        model.run_eagerly,
        model.jit_compile,
        model.jit_compile_setting,
        model.microbatches,
        getattr(model, "global_clipnorm", None),
        Same(getattr(model, "optimizer", None)),
        *map(Same, keras_bridge.frozen(model)),
    )
