"""A mixin that runs `fit`, `evaluate` and `predict` in blocks of steps."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import keras

from gdtrain.block import prediction
from gdtrain.common import forks
from gdtrain.distributed import worker_lost
from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import patches
from gdtrain.loop import block_runner, fit, hooks, inference
from gdtrain.mistakes.errors import ReadableErrors
from gdtrain.state import variables

# Each loop, and what makes its function: a user's own maker needs Keras's loop
_LOOPS: dict[str, tuple[Callable[..., Any], str]] = {
    "fit": (fit.fit, "make_train_function"),
    "evaluate": (inference.evaluate, "make_test_function"),
    "predict": (inference.predict, "make_predict_function"),
}

# A mixin has no parent of its own; to the type checker, it may have any.
_Mixin: Any = object

_Method = TypeVar("_Method", bound=Callable[..., Any])
_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")


def _signature_of(
    method_of_keras: Callable[..., Any],
) -> Callable[[_Method], _Method]:
    """Gives a method Keras's signature, and keeps its docstring.

    Keras documents these methods on a parent of its own.
    """
    wraps: Any = functools.wraps(method_of_keras, assigned=())
    return wraps


def _typed_as(
    loop: Callable[_Parameters, _Returned],
) -> Callable[[Callable[..., Any]], Callable[_Parameters, _Returned]]:
    """Gives a method the annotations of its loop, for editors and mypy."""
    return lambda method: method


class StepRunner(_Mixin):
    """Mixin: runs `train_step` and `test_step` in blocks of many steps.

    A model with a `make_train_function` of its own is run by Keras's loop.
    """

    train_function: Any  # Set by Keras's trainer
    test_function: Any
    predict_function: Any
    _validation_source: Any = None  # Kept from one epoch of `fit` to the next
    _label_rules: Any = None  # `LabelRules`, once it is compiled

    @_typed_as(fit.fit)
    @_signature_of(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Trains; arguments and return value are `keras.Model.fit`'s.

        However it ends, callbacks such as `gdtrain.callbacks.Telemetry` have
        all that was measured. `History` shows what each step returned: the
        mean over the epoch, weighted by examples, of scalars; the result of
        metrics. Ctrl-C is raised at the end of a block, within about 0.2
        seconds, and leaves the model as after its last step.

        A callback may change the model: compile it, set its optimizer, what
        is trainable, `steps_per_execution`, `jit_compile`, `run_eagerly`, or
        have `make_train_function(force=True)` read everything else again. That
        counts from the next step that the callback sees. It may also evaluate,
        train on a batch or fit the same model; the epoch's metrics stay.

        If it sets `stop_training` on one of several workers, as by its own
        clock, all of them stop at the same step: at the end of the block that
        follows, or at the end of the epoch if it acts there.
        """
        attributes = "history", "stop_training", "_validation_source"
        with ReadableErrors(), entered(self, *attributes):
            run = self._loop_or_none("fit", kwargs) or super().fit
            return run(*args, **kwargs)

    @_typed_as(inference.evaluate)
    @_signature_of(keras.Model.evaluate)
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates; as `keras.Model.evaluate`, in blocks of steps."""
        within_fit = kwargs.get("_use_cached_eval_dataset")
        # `fit` has the epoch's results when it validates.
        entering = (
            contextlib.nullcontext()
            if within_fit
            else entered(self, "stop_evaluating")
        )
        with ReadableErrors(), entering:
            run = self._loop_or_none("evaluate", kwargs) or super().evaluate
            return run(*args, **kwargs)

    @_typed_as(inference.predict)
    @_signature_of(keras.Model.predict)
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predicts; as `keras.Model.predict`, in blocks of steps."""
        with ReadableErrors(), entered(self, "stop_predicting"):
            run = self._loop_or_none("predict", kwargs) or super().predict
            return run(*args, **kwargs)

    @_signature_of(keras.Model.train_on_batch)
    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Trains one step; as `keras.Model.train_on_batch`."""
        with ReadableErrors(), entered(self):
            return super().train_on_batch(*args, **kwargs)

    @_signature_of(keras.Model.test_on_batch)
    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates one batch; as `keras.Model.test_on_batch`."""
        with ReadableErrors(), entered(self):
            return super().test_on_batch(*args, **kwargs)

    @_signature_of(keras.Model.predict_on_batch)
    def predict_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Predicts one batch; as `keras.Model.predict_on_batch`."""
        strategy = self.distribute_strategy
        with ReadableErrors(), worker_lost.explained(strategy):
            return super().predict_on_batch(*args, **kwargs)

    @functools.cached_property
    def _step_hooks(self) -> hooks.Hooks:
        """What passes the steps of `fit` to callbacks."""
        return hooks.Hooks(Workers(self.distribute_strategy))

    def make_train_function(self, force: bool = False) -> None:
        """Makes `train_function`, which runs steps of `train_step`."""
        forks.check_threads(self.run_eagerly)
        if self.train_function is None or force:
            self.train_function = block_runner.BlockRunner(
                self, "train_step", self._step_hooks
            )
        if self.optimizer is not None:
            self._step_hooks.begin(int(self.optimizer.iterations.numpy()))

    def make_test_function(self, force: bool = False) -> None:
        """Makes `test_function`, which runs steps of `test_step`."""
        forks.check_threads(self.run_eagerly)
        if self.test_function is None or force:
            self.test_function = block_runner.BlockRunner(self, "test_step")

    def make_predict_function(self, force: bool = False) -> None:
        """Makes `predict_function`, which runs steps of `predict_step`."""
        forks.check_threads(self.run_eagerly)
        if self.predict_function is None or force:
            self.predict_function = prediction.PredictFunction(self)

    def _own_loop(
        self, name: str, arguments: dict[str, Any]
    ) -> Callable[..., Any] | None:
        """The loop that `fit`, `evaluate` or `predict` consists of.

        Args:
            name: Which of the three.
            arguments: The keyword arguments that it is called with.

        Returns:
            A function of the model and the arguments; `None` for Keras's own
            loop, which a function of the user's own is made for.
        """
        loop, maker = _LOOPS[name]
        makers = [maker]
        if arguments.get("_use_cached_eval_dataset"):  # Within `fit`
            makers.append("make_train_function")
        if any(
            getattr(type(self), one) is not getattr(StepRunner, one)
            for one in makers
        ):
            return None
        return loop

    def _loop_or_none(
        self, name: str, arguments: dict[str, Any]
    ) -> Callable[..., Any] | None:
        """The own loop of this model; `None` if a class of the user's has it.

        Then that is called, and Keras's own, in the end, runs the loop.
        """
        loop = self._own_loop(name, arguments)
        if loop and patches.leads_to_keras(self, StepRunner, name):
            return functools.partial(loop, self)
        patches.dispatch_to_model(StepRunner, name)
        return None


# Models whose data are being gone over, in this thread
_under_way: contextvars.ContextVar[tuple[Any, ...]] = contextvars.ContextVar(
    "under_way", default=()
)


@contextlib.contextmanager
def entered(model: Any, *attributes: str) -> Iterator[None]:
    """Surrounds one pass over data.

    Within an outer pass, metrics and some attributes are set back at the end.
    Weights, optimizer and random states stay as the inner pass leaves them.
    An error that the loss of another worker causes says so.

    Args:
        model: A `DescentTrainer`.
        *attributes: Names of attributes that the pass sets.
    """
    outer = _under_way.get()
    metrics = None
    if any(one is model for one in outer):
        metrics = variables.KeptValues(
            model.metrics_variables, model.distribute_strategy
        )
    kept = {name: getattr(model, name, None) for name in attributes}
    token = _under_way.set((*outer, model))
    try:
        with worker_lost.explained(model.distribute_strategy):
            yield
    finally:
        _under_way.reset(token)
        if metrics is not None:
            model.reset_metrics()  # Those too that were made meanwhile
            metrics.set_back()
            for name, value in kept.items():
                setattr(model, name, value)
