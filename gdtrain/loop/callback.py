"""The base class of callbacks that take part in blocks of steps."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import keras

from gdtrain.common.explained import more
from gdtrain.keras_bridge.callbacks import (
    default_hook,
    is_default_hook,
    without_model,
)
from gdtrain.loop.fit_state import FitState
from gdtrain.telemetry import presets
from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.requests import Request
from gdtrain.telemetry.step_table import BlockTable, Wanted

Sync = Literal["never", "epoch", "batch"]
Logs = Mapping[str, Any] | None  # As Keras passes them to its hooks
State = Mapping[str, Any]  # What `get_state` of a callback gives
Quantities = str | Sequence[Quantity | str]

_CHEAP = frozenset(quantity.name for quantity in presets.PRESETS["standard"])


class Callback(keras.callbacks.Callback):
    """A Keras callback that takes part in blocks, telemetry and resume.

    `fit` runs many steps as one compiled program, a block, between which
    Python sees the model. A subclass overrides what it needs; each default
    does nothing. Beside Keras's hooks there are:

    | attribute or method | what for |
    |---|---|
    | `quantities`, `every_steps`, `budget` | what the step measures |
    | `on_block(table)` | the numbers of the steps of a block |
    | `sync`, `next_sync(step)` | when a block must end |
    | `probe(step, seconds)`, `probe_names` | expensive measurements |
    | `before_step(model)` | tensor operations in the compiled step |
    | `get_state()`, `set_state(state)` | exact resume |
    | `on_fit_begin(fit_state)`, `on_position(fit_state)` | save, roll back |
    | `on_error(error)` | an exception that ends `fit` |
    | `close()` | release files and threads, however `fit` ends |

    `fit` calls, on its own thread and for each callback in list order:

    1. `on_fit_begin`, before the first step is traced; weights may be missing.
    2. Keras's `on_train_begin`; then `set_state`, if a run is resumed.
    3. `on_position`, now and after each block at whose end no step waits to
       be passed to Keras's hooks; callbacks with `guards_steps` come first.
    4. Keras's `on_epoch_begin`. For each block: the compiled steps, with
       `before_step` ahead of each; `probe` of all callbacks; `on_block` of
       all callbacks; Keras's hooks of batches. Then `on_epoch_end`.
    5. Keras's `on_train_end`, and `on_position` once before and once after.
    6. `close`, of all callbacks even if one raises; after an exception, it
       comes after `on_error`.

    An exception in a hook ends `fit` and is raised from it, after all other
    callbacks have received the block. `before_step` is traced, once for each
    compiled program; all other hooks are plain Python. Training waits for
    them: a callback that is slow in `on_block` passes the table, which does
    not change any more, to a thread of its own, as `StepWriter` does.

    A callback can be pickled and copied, before and after `fit`, with its
    results but without its model. One that holds open files, locks or threads
    excludes them in a `__getstate__` of its own, and makes them in
    `on_train_begin`. An `on_train_begin` of your own calls `super()`'s, which
    checks the model.

    Raises:
        TypeError: when training begins, if the model is not one of gdtrain's,
            or not trained by its own `fit`.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> class LargestLoss(gdtrain.callbacks.Callback):
    ...     quantities = ["loss"]
    ...     largest = 0.0
    ...     def on_block(self, table):
    ...         self.largest = max(self.largest, float(table["loss"].max()))
    >>> line = keras.layers.Dense(1, kernel_initializer="zeros")
    >>> model = gdtrain.Sequential([keras.Input([1]), line])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> callback = LargestLoss()
    >>> x = np.ones([4, 1])
    >>> _ = model.fit(x, 3 * x, epochs=5, verbose=0, callbacks=[callback])
    >>> callback.largest
    9.0
    """

    #: What to measure in each step: a preset (`"minimal"`, `"standard"`,
    #: `"full"`), or a list of quantities and names of quantities.
    quantities: Quantities = ()

    #: Measure at the steps that are multiples of this.
    every_steps: int = 1

    #: The share of training time that quantities beyond the `"standard"` ones
    #: may take: they are measured less often until they do. `None`: no limit.
    budget: float | None = None

    #: When Python must see the model: `"never"`; `"epoch"`, as an epoch ends;
    #: `"batch"`, after each step. `None`: as the overridden hooks of Keras
    #: need it, so that a callback without `on_epoch_...` and `on_batch_...`
    #: never needs it. With `"never"`, Keras's hooks are still called, in
    #: their order, but the model may be some steps ahead of them.
    sync: Sync | None = None

    #: Names of the numbers that `probe` may return.
    probe_names: Sequence[str] = ()

    #: Whether training must repeat bit by bit: `jit_compile="auto"` then is a
    #: graph, as which compiler is faster is measured by the clock.
    deterministic: bool = False

    #: Whether steps that are not finite are reverted; see `NonfiniteGuard`.
    guards_steps: bool = False

    #: Whether it sets the learning rate within an epoch, from outside the
    #: step; `before_step` counts as such by itself.
    sets_learning_rate: bool = False

    _is_registered = False

    def __getstate__(self) -> dict[str, Any]:
        state = without_model(self)
        state.pop("_is_registered", None)
        return state

    @property
    def steps_done(self) -> int:
        """Number of the last step; a second `fit` continues to count."""
        return self.model._step_hooks.steps_done

    @property
    def wanted(self) -> Wanted:
        """What to select from a block: see `BlockTable.select`.

        By quantity, at which steps: the multiples of a number; under `None`,
        those of the scalars that `train_step` returned.
        """
        wanted: dict[str | None, int] = {None: self.every_steps}
        for request in self.requests:
            wanted[request.quantity.name] = request.every_steps
        return wanted

    @property
    def requests(self) -> list[Request]:
        """`quantities` as they are measured, made of `every_steps`, `budget`.

        Raises:
            TypeError, ValueError: if `quantities` cannot be used.
        """
        return [
            Request(
                quantity,
                math.lcm(self.every_steps, quantity.every_steps),
                self.budget is not None and quantity.name not in _CHEAP,
            )
            for quantity in presets.resolve(self.quantities)
        ]

    @property
    def before_step_key(self) -> Hashable:
        """What `before_step` is known by; `None` if it does nothing.

        Compiled programs are kept by it: callbacks with equal keys share
        one. Defaults to the callback itself.
        """
        return None if is_default_hook(self.before_step) else self

    def on_fit_begin(self, fit_state: FitState) -> None:
        """Called before `on_train_begin`; here a run can be resumed.

        Args:
            fit_state: The state of this `fit`; `fit_state.resume(state)` says
                where it continues.
        """

    def on_train_begin(self, logs: Logs = None) -> None:
        """Checks that the model is one of gdtrain's, trained by its own `fit`.

        Raises:
            TypeError: if it is not.
        """
        if not self._is_registered:
            raise TypeError(
                f"`{type(self).__name__}` needs a gdtrain model, trained by "
                f"its own `fit`. Received: {type(self.model).__name__} "
                f"{self.model.name!r}. Write `gdtrain.from_keras(model)`, or "
                "use gdtrain.Model or gdtrain.Sequential."
                + more("gdtrain-model")
            )

    def on_position(self, fit_state: FitState) -> None:
        """Called where the model is exactly as after the last step.

        Args:
            fit_state: `fit_state.capture()` gives all that `fit` consists of.

        Raises:
            gdtrain.callbacks.Rollback: to continue from an earlier state.
        """

    def next_sync(self, step: int) -> int | None:
        """The first step after `step` at whose end it must see the model.

        A block ends there, unless `compile` was given a number of
        `steps_per_execution`: then the block that reaches it ends next.

        Args:
            step: The last step that has run.

        Returns:
            The number of a step above `step`; `None` for no such step.
        """
        return None

    @default_hook
    def before_step(self, model: keras.Model) -> None:
        """Tensor operations ahead of each step, in the compiled program.

        It may set variables, as those of the optimizer. It must not depend on
        Python values that change: it is traced once.

        Args:
            model: The model that is trained.
        """

    def probe(self, step: int, seconds: float) -> Mapping[str, float]:
        """Measures beside training, where a block has ended.

        It must change neither the model nor any random state.

        Args:
            step: The number of the last step, whose weights the model has.
            seconds: How long the block took.

        Returns:
            Numbers by name, of `probe_names`, which every callback finds in
            the table at that step; empty for none.
        """
        return {}

    def on_block(self, table: BlockTable) -> None:
        """Receives the steps of a block.

        Args:
            table: A row for each step; it has what all callbacks asked for.
        """

    @default_hook
    def get_state(self) -> dict[str, Any]:
        """What must be kept to continue exactly.

        Returns:
            A dict of numbers, strings, lists and NumPy arrays, which is saved
            with each checkpoint.
        """
        return {}

    @default_hook
    def set_state(self, state: State) -> None:
        """Continues from what `get_state` gave, after `on_train_begin`.

        Args:
            state: The dict.
        """

    def on_error(self, error: BaseException) -> None:
        """Called if an exception ends `fit`, of whatever hook or step.

        Args:
            error: The exception, also a `KeyboardInterrupt`. It is raised from
                `fit` after all `close`; this method raises none of its own.
        """

    def close(self) -> None:
        """Called once as `fit` ends, normally or by an exception."""
