"""Labels that do not suit the loss they are given to, told in time."""

import contextlib
import contextvars
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from gdtrain.keras_bridge import losses
from gdtrain.mistakes import label_rules

# The leaves of the batch whose step is being traced, with their paths
_batch: contextvars.ContextVar = contextvars.ContextVar("batch", default=())

_NAMES = {0: "x", 1: "y", 2: "sample_weight"}  # By place in a batch


def watch_losses(model: Any) -> None:
    """Has the losses that a model was compiled with explain mistakes."""
    model.label_rules = LabelRules()
    losses.replace_compiled_loss(
        model, model.label_rules.around, label_rules.mismatch
    )


def at_hand(model: Any, feed: Any) -> contextlib.AbstractContextManager:
    """While open, a model's labels are those of a feed; checks them.

    Raises:
        ValueError: if they are not what a loss of the model asks for.
    """
    rules = model.label_rules
    return rules.at_hand(feed) if rules else contextlib.nullcontext()


@contextlib.contextmanager
def in_step(data: Any) -> Iterator[None]:
    """While open, labels of a loss are found among the leaves of a batch."""
    token = _batch.set(keras.tree.flatten_with_path(data))
    try:
        yield
    finally:
        _batch.reset(token)


class LabelRules:
    """What the compiled losses of a model ask of labels.

    While a step is traced, a loss leaves a rule: which labels of the batch it
    gets, and which values they may have. By these, labels in arrays are
    checked before the first step, once for each `fit` or `evaluate`. Labels
    that a step changes before a loss gets them are not, nor are those that
    stream.
    """

    def __init__(self) -> None:
        self._rules: dict[tuple, Any] = {}  # By paths in a batch
        self._feed: Any = None
        self._checked: Any = weakref.WeakKeyDictionary()  # Rules, by feed

    def around(self, loss: Callable, output: str | None) -> Callable:
        """A compiled loss that says what is wrong with its labels.

        Args:
            loss: Takes `(y_true, y_pred, sample_weight)`.
            output: The name of its output, or of the loss.
        """
        known = label_rules.known(loss, output)
        if known is None:
            return loss

        def explained(y_true, y_pred, sample_weight=None):
            label_rules.refuse_text(known, y_true)
            rule = label_rules.rule_of(known, y_pred)
            if rule and (sample_weight is None or known.takes_class_numbers):
                self._note(rule, y_true)
            try:
                return loss(y_true, y_pred, sample_weight)
            except (ValueError, TypeError, tf.errors.OpError) as error:
                reason = label_rules.reason(known, y_true, y_pred)
                if reason is None:
                    raise
                raise ValueError(reason) from error

        return explained

    def _note(self, rule: Any, y_true: Any) -> None:
        """Keeps a rule for these labels of the batch, and applies it."""
        for path, leaf in _batch.get():
            if leaf is y_true:
                self._rules[path] = rule
                self._check(path, rule)

    def _check(self, path: tuple, rule: Any) -> None:
        """Checks labels of the feed that is at hand, once."""
        if self._feed is None:
            return
        checked = self._checked.setdefault(self._feed, set())
        if (path, rule) in checked:
            return
        checked.add((path, rule))
        array = self._feed.array_at(path)
        if array is not None:
            first, *rest = path
            name = _NAMES.get(first, str(first))
            rule.check(array, name + "".join(f"[{step!r}]" for step in rest))

    @contextlib.contextmanager
    def at_hand(self, feed: Any) -> Iterator[None]:
        """While open, labels are those of a feed; checks those it knows."""
        before, self._feed = self._feed, feed
        try:
            for path, rule in self._rules.items():
                self._check(path, rule)
            yield
        finally:
            self._feed = before
