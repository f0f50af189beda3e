"""What a step of the user's own returns."""

import contextlib
import functools
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gdtrain.block import prediction, runner
from gdtrain.common import forks, tracebacks
from gdtrain.descent import replicas
from gdtrain.keras_bridge import layers, patches
from gdtrain.loop import evaluate, fit, hooks, nesting, predict
from gdtrain.mistakes import inputs, labels, operations
from gdtrain.step import step_context


def check_returned(logs: Any, method: str) -> Any:
    """Returns what `train_step` or `test_step` returned, a dict.

    Args:
        logs: What it returned.
        method: The name of the method.

    Raises:
        TypeError: if it is not a dict.

    Example:

    >>> check_returned({"loss": 1.0}, "train_step")
    {'loss': 1.0}
    >>> check_returned(None, "train_step")
    Traceback (most recent call last):
    TypeError: `train_step` must return a dict of numbers by name. Received...
    """
    if hasattr(logs, "items"):
        return logs
    if logs is None:
        received = "nothing (None)"
    elif tf.is_tensor(logs):
        received = f"a tensor of shape {logs.shape} and dtype {logs.dtype.name}"
    else:
        received = f"{logs!r} of type {type(logs).__name__}"
    raise TypeError(
        f"`{method}` must return a dict of numbers by name. Received: "
        f'{received}. End it with `return {{"loss": loss}}`, or with '
        "`return self.compute_metrics(x, y, y_pred)`."
    )


class _Loop(NamedTuple):
    run: Any  # Takes the model and the arguments
    function: str  # Whose maker a user may override for a loop of Keras's


def _evaluate(model, *args, _use_cached_eval_dataset=False, **kwargs):
    kwargs["within_fit"] = _use_cached_eval_dataset
    return evaluate.evaluate(model, *args, **kwargs)


_LOOPS = {
    "fit": _Loop(fit.fit, "train_function"),
    "evaluate": _Loop(_evaluate, "test_function"),
    "predict": _Loop(predict.predict, "predict_function"),
}

# A mixin has no parent of its own; to the type checker, it may have any.
_Mixin: Any = object


class StepRunner(_Mixin):
    """Mixin: runs `train_step` and `test_step` in blocks of many steps.

    A model with a `make_train_function` of its own is run by Keras's loop.
    """

    microbatches = 1
    # What `compile` was told, and what Keras made of it
    asked_for_steps: Any = "auto"
    asked_for_jit_compile: Any = ("auto", None)
    train_function: Any  # Set by Keras's trainer
    test_function: Any
    predict_function: Any
    validation_feed: Any = None  # Kept from one epoch of `fit` to the next
    repeated_loss: Any = None  # A `RepeatedLoss`, if a step can be repeated
    label_rules: Any = None  # `LabelRules`, once it is compiled

    # For the signatures alone: Keras documents these on a parent of its own.
    @tracebacks.filtered
    @operations.explained
    @functools.wraps(keras.Model.fit, assigned=())
    def fit(self, *args, **kwargs):
        """Trains; arguments and return value are `keras.Model.fit`'s.

        However it ends, callbacks such as `gdtrain.callbacks.Telemetry` have
        all that was measured. `History` shows what each step returned: the
        mean over the epoch, weighted by examples, of scalars; the result of
        metrics. Ctrl-C is raised at the end of a block, within about 0.2
        seconds, and leaves the model as after its last step.

        A callback may change the model: compile it, set its optimizer, what
        is trainable, `steps_per_execution`, `jit_compile`, `run_eagerly`, or
        have `make_train_function(force=True)` read all else anew. That counts
        from the next step that the callback sees. It may also evaluate, train
        on a batch or fit the same model; the epoch's metrics stay.
        """
        with nesting.entered(
            self, "history", "stop_training", "validation_feed"
        ):
            return self._run("fit", super().fit, args, kwargs)

    @tracebacks.filtered
    @operations.explained
    @functools.wraps(keras.Model.evaluate, assigned=())
    def evaluate(self, *args, **kwargs):
        """Evaluates; as `keras.Model.evaluate`, in blocks of steps."""
        with contextlib.ExitStack() as stack:
            # `fit` has the epoch's results when it validates.
            if not kwargs.get("_use_cached_eval_dataset"):
                stack.enter_context(nesting.entered(self, "stop_evaluating"))
            return self._run("evaluate", super().evaluate, args, kwargs)

    @tracebacks.filtered
    @operations.explained
    @functools.wraps(keras.Model.predict, assigned=())
    def predict(self, *args, **kwargs):
        """Predicts; as `keras.Model.predict`, in blocks of steps."""
        with nesting.entered(self, "stop_predicting"):
            return self._run("predict", super().predict, args, kwargs)

    @tracebacks.filtered
    @operations.explained
    @functools.wraps(keras.Model.train_on_batch, assigned=())
    def train_on_batch(self, *args, **kwargs):
        """Trains one step; as `keras.Model.train_on_batch`."""
        with nesting.entered(self):
            return super().train_on_batch(*args, **kwargs)

    @tracebacks.filtered
    @operations.explained
    @functools.wraps(keras.Model.test_on_batch, assigned=())
    def test_on_batch(self, *args, **kwargs):
        """Evaluates one batch; as `keras.Model.test_on_batch`."""
        with nesting.entered(self):
            return super().test_on_batch(*args, **kwargs)

    @tracebacks.filtered
    @operations.explained
    @functools.wraps(keras.Model.predict_on_batch, assigned=())
    def predict_on_batch(self, *args, **kwargs):
        """Predicts one batch; as `keras.Model.predict_on_batch`."""
        return super().predict_on_batch(*args, **kwargs)

    @property
    def steps_setting(self):
        """How many steps run as one program: `"auto"` or a number.

        `steps_per_execution` may be set after `compile`, as in Keras.
        """
        if self.asked_for_steps == "auto" and self.steps_per_execution == 1:
            return "auto"
        return self.steps_per_execution

    @property
    def jit_compile_setting(self):
        """Whether XLA compiles: `"auto"`, `True` or `False`.

        `jit_compile` may be set after `compile`, as in Keras.
        """
        asked, resolved = self.asked_for_jit_compile
        if asked == "auto" and self.jit_compile in (resolved, None):
            return "auto"
        return self.jit_compile

    @functools.cached_property
    def _step_hooks(self) -> hooks.Hooks:
        """What passes the steps of `fit` to callbacks."""
        return hooks.Hooks()

    def make_train_function(self, force=False):
        """Makes `train_function`, which runs steps of `train_step`."""
        forks.check_threads(self.run_eagerly)
        if self.train_function is None or force:
            self.train_function = runner.Execution(
                self,
                self._step_on_replica,
                self._step_hooks,
            )
        if self.optimizer is not None:
            self._step_hooks.begin(int(self.optimizer.iterations.numpy()))

    def make_test_function(self, force=False):
        """Makes `test_function`, which runs steps of `test_step`."""
        forks.check_threads(self.run_eagerly)
        if self.test_function is None or force:
            self.test_function = runner.Execution(
                self, functools.partial(self._run_step, "test_step")
            )

    def make_predict_function(self, force=False):
        """Makes `predict_function`, which runs steps of `predict_step`."""
        forks.check_threads(self.run_eagerly)
        if self.predict_function is None or force:
            self.predict_function = prediction.PredictFunction(self)

    def own_loop(self, name, arguments):
        """The loop that `fit`, `evaluate` or `predict` consists of.

        Args:
            name: Which of the three.
            arguments: The keyword arguments that it is called with.

        Returns:
            A function of the model and the arguments; `None` for Keras's own
            loop, which a function of the user's own is made for.
        """
        makers = [f"make_{_LOOPS[name].function}"]
        if arguments.get("_use_cached_eval_dataset"):  # Within `fit`
            makers.append("make_train_function")
        if any(self._has_its_own(maker) for maker in makers):
            return None
        return _LOOPS[name].run

    def _run(self, name, inherited, args, kwargs):
        """Runs a loop, within whatever else has a method of that name.

        Args:
            name: `"fit"`, `"evaluate"` or `"predict"`.
            inherited: That of the next class, bound.
            args, kwargs: Its arguments.
        """
        loop = self.own_loop(name, kwargs)
        if loop and patches.leads_to_keras(self, StepRunner, name):
            return loop(self, *args, **kwargs)
        patches.dispatch_to_model(StepRunner, name)
        return inherited(*args, **kwargs)

    def _has_its_own(self, name):
        """Whether a method is not the one of this class, but of the user's."""
        return getattr(type(self), name) is not getattr(StepRunner, name)

    def _run_step(self, method, data):
        """What `train_step` or `test_step` returns; explains mistakes."""
        with inputs.explained(self, data), labels.in_step(data):
            return check_returned(getattr(self, method)(data), method)

    def _step_on_replica(self, data):
        """`train_step`, and what must be equal on all replicas after it."""
        statistics = layers.moving_statistics(self)
        before = [tf.convert_to_tensor(v) for v in statistics]
        step = step_context.current()
        if self.repeated_loss is None:  # A step of the user's own
            step.watch_weights(self.trainable_variables)
        logs = self._run_step("train_step", data)
        step.look_at_weights(self.trainable_variables)
        # A layer that is built in its first step has new ones.
        replicas.equalize(layers.moving_statistics(self), step.examples)
        step.seal(statistics, before)
        return logs
