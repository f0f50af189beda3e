"""Labels that a loss cannot use, refused before the first step."""

import contextlib
import contextvars
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.data.protocols import DataSource
from gdtrain.keras_bridge import losses
from gdtrain.mistakes import label_rules
from gdtrain.mistakes.errors import explained_by
from gdtrain.mistakes.wording import place

# The leaves of the batch whose step is being traced, with their paths
_batch: contextvars.ContextVar = contextvars.ContextVar("batch", default=())

_NAMES = {0: "x", 1: "y", 2: "sample_weight"}  # By place in a batch


def watch_losses(model: Any) -> None:
    """Lets the losses that a model was compiled with explain mistakes."""
    model._label_rules = LabelRules()
    losses.replace_compiled_loss(
        model,
        model._label_rules.explained,
        lambda *labels: _with_page(label_rules.mismatch(*labels)),
    )


def checked(
    model: Any, source: DataSource
) -> contextlib.AbstractContextManager[None]:
    """While open, a model's labels are those of a data source; checks them.

    Raises:
        ValueError: if a loss of the model cannot use them.
    """
    rules = model._label_rules
    return rules.checked(source) if rules else contextlib.nullcontext()


@contextlib.contextmanager
def in_step(data: Any) -> Iterator[None]:
    """While open, labels of a loss are found among the leaves of a batch."""
    token = _batch.set(keras.tree.flatten_with_path(data))
    try:
        yield
    finally:
        _batch.reset(token)


def _with_page(reason: str | None) -> str | None:
    """A reason, if there is one, with the command for its page."""
    return reason and reason + more("labels")


class LabelRules:
    """What the compiled losses of a model require of labels.

    While a step is traced, each loss records a rule: which labels of the
    batch it gets, and which values they may have. By these rules, labels in
    arrays are checked before the first step, once for each `fit` or
    `evaluate`. Not checked are labels that a step changes before a loss gets
    them, and those that are not in arrays.
    """

    def __init__(self) -> None:
        self._rules: dict[tuple, label_rules.Rule] = {}  # By paths in a batch
        self._source: DataSource | None = None
        # The rules by which a source has been checked
        self._checked: weakref.WeakKeyDictionary[DataSource, set] = (
            weakref.WeakKeyDictionary()
        )

    def explained(self, loss: Callable, output: str | None) -> Callable:
        """A compiled loss that explains mistakes in its labels.

        Args:
            loss: Takes `(y_true, y_pred, sample_weight)`.
            output: The name of its output, or of the loss.
        """
        known = label_rules.known(loss, output)
        if known is None:
            return loss

        def explained(
            y_true: Any, y_pred: Any, sample_weight: Any = None
        ) -> tf.Tensor:
            label_rules.refuse_text(known, y_true)
            rule = label_rules.rule_of(known, y_pred)
            if rule and (
                sample_weight is None or known.labels == "class numbers"
            ):
                self._record(rule, y_true)
            with explained_by(
                lambda error: _with_page(
                    label_rules.reason(known, y_true, y_pred)
                ),
                ValueError,
                TypeError,
                tf.errors.OpError,
            ):
                return loss(y_true, y_pred, sample_weight)

        return explained

    def _record(self, rule: label_rules.Rule, y_true: Any) -> None:
        """Keeps a rule for these labels of the batch, and applies it."""
        for path, leaf in _batch.get():
            if leaf is y_true:
                self._rules[path] = rule
                self._check(path, rule)

    def _check(self, path: tuple, rule: label_rules.Rule) -> None:
        """Checks labels of the current source, once."""
        if self._source is None:
            return
        checked = self._checked.setdefault(self._source, set())
        if (path, rule) in checked:
            return
        checked.add((path, rule))
        array = self._source.array_at(path)
        if array is not None:
            first, *rest = path
            rule.check(array, place(_NAMES.get(first, str(first)), rest))

    @contextlib.contextmanager
    def checked(self, source: DataSource) -> Iterator[None]:
        """While open, labels are those of a data source; checks them."""
        before, self._source = self._source, source
        try:
            for path, rule in self._rules.items():
                self._check(path, rule)
            yield
        finally:
            self._source = before
