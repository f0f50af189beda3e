"""The state of one `fit`: its position, and all that a resumed fit needs.

A user's callback has `get_state()`, which returns a dict of numbers, strings,
lists and NumPy arrays, and `set_state(state)`, called after `on_train_begin`;
it may be a `gdtrain.callbacks.Callback` or any other of Keras's. Of Keras's
own callbacks it is known what they keep.
"""

import copy
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common import failures
from gdtrain.common.explained import more
from gdtrain.data.iterators import NoPosition
from gdtrain.data.protocols import DataSource, Position
from gdtrain.keras_bridge import callbacks as keras_callbacks
from gdtrain.state import fingerprint, moving, own_code, variables
from gdtrain.state.fingerprint import Differences, Groups
from gdtrain.state.moving import Move
from gdtrain.state.variables import Value, Variable

#: What `FitState.capture` returns
State = dict[str, Any]

_BUILT = ("weight", "optimizer", "metric")  # Others may come with a step
_OF_BATCHES = {"data", "fit"}  # Groups of a fingerprint that change batches


class Listener(Protocol):
    """A callback of gdtrain, as far as a fit state knows it."""

    guards_steps: bool

    def on_position(self, fit_state: "FitState") -> None:
        """See `gdtrain.callbacks.Callback`."""


class Queue(Protocol):
    """A `gdtrain.loop.block_queue.BlockQueue`, whose module knows callbacks."""

    model: keras.Model
    data_source: DataSource
    last_batch: Any
    block_steps: int

    @property
    def is_idle(self) -> bool: ...
    @property
    def random_operations(self) -> set[str]: ...
    def stops(self, asked: bool) -> bool: ...
    def stop(self) -> None: ...
    def agree_to_stop(self, asked: bool) -> None: ...
    def trace(self, epoch: int, step: int) -> None: ...
    def get_state(self) -> State: ...
    def set_state(self, state: State) -> None: ...


class Rollback(Exception):
    """Raised by a callback's `on_position` to continue from a state.

    Args:
        state: What `FitState.capture` returned.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> class Repeat(gdtrain.callbacks.Callback):
    ...     state = None
    ...     def on_position(self, fit_state):
    ...         if self.state is None:
    ...             self.state = fit_state.capture()
    ...         elif fit_state.steps_done == 2 and self.state:
    ...             state, self.state = self.state, {}
    ...             raise gdtrain.callbacks.Rollback(state)
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> x = np.ones([4, 1])
    >>> history = model.fit(x, x, epochs=2, verbose=0, callbacks=[Repeat()])
    >>> history.epoch, int(model.optimizer.iterations)
    ([0, 1], 2)
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state


class FitState:
    """The state of one `fit`, saved and restored between blocks of steps.

    A `gdtrain.callbacks.Callback` gets it in `on_fit_begin`, where it may
    call `resume`; and in `on_position`, called whenever the model is as the
    callbacks know it, so that `capture` is of one moment. The latter may raise
    `Rollback`.

    Args:
        queue: Runs the steps of a `DescentTrainer` on the training data.
        callbacks: The callbacks.
        listeners: Those of them whose `on_position` is called.
        epoch: The first epoch; they count from 0.
        epochs: The number of the last epoch, plus 1.
        arguments: What else `fit` was given, by name.

    Attributes:
        epoch, step: Of the step that comes next; both count from 0.
        logs: Of the last epoch that ended.
        is_stopped: Whether `stop_training` ended it.
        is_over: Whether all epochs are done.
        is_finished: Whether `on_train_end` was called as well.
        has_failed: Whether a callback found it not worth saving any more.
        resumed_from: The state that `resume` was given, until training.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> class Print(gdtrain.callbacks.Callback):
    ...     def on_position(self, fit_state):
    ...         print(fit_state.epoch, fit_state.step, fit_state.steps_done)
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile("sgd", loss="mse", steps_per_execution=2)
    >>> x = np.ones([8, 1])
    >>> _ = model.fit(x, x, batch_size=2, verbose=0, callbacks=[Print()])
    0 0 0
    0 2 2
    1 0 4
    1 0 4
    1 0 4
    """

    def __init__(
        self,
        queue: Queue,
        callbacks: keras.callbacks.CallbackList,
        listeners: Sequence[Listener],
        epoch: int,
        epochs: int,
        arguments: dict[str, Any],
    ) -> None:
        self.queue = queue
        self.model = queue.model
        self.data_source = queue.data_source
        self.callbacks: list[keras.callbacks.Callback] = callbacks.callbacks
        # Under the name of the class and which one of it
        self._named: dict[str, keras.callbacks.Callback] = {}
        counts: Counter[str] = Counter()
        for callback in self.callbacks:
            kind = type(callback).__name__
            self._named[f"{kind} {counts[kind]}"] = callback
            counts[kind] += 1
        self.epoch, self.epochs = epoch, epochs
        self.step = 0
        self.logs: dict[str, Any] | None = None
        self.is_stopped = self.is_over = self.is_finished = False
        self.has_failed = False
        self.resumed_from: State | None = None
        self._begin_epoch = callbacks.on_epoch_begin
        self._arguments = arguments
        self._fingerprint: Groups | None = None
        self._compared: tuple[Any, Differences] = None, Differences()
        self._unsaved: set[str] = set()  # Callbacks whose state is not saved
        # Guards come first: what they stop must not be saved.
        self._listeners = sorted(listeners, key=lambda c: not c.guards_steps)

    @property
    def steps_done(self) -> int:
        """How many updates the model has behind it."""
        return self.model._step_hooks.steps_done

    @property
    def has_next_epoch(self) -> bool:
        """Whether an epoch is left to run, or a part of one."""
        is_over = self.is_stopped or self.is_finished
        return self.epoch < self.epochs and not is_over

    @property
    def stops(self) -> bool:
        """Whether `stop_training` ends it here, on all workers alike."""
        return self.queue.stops(self.model.stop_training)

    def stop(self) -> None:
        """Ends training here; to be called on all workers alike."""
        self.model.stop_training = True
        self.queue.stop()

    def fingerprint(self) -> Groups:
        """What this fit is asked to do.

        It is taken at the first call, which must come before training, as
        that changes it.
        """
        if self._fingerprint is None:
            if self.model.built:
                # What a step is seen to return depends on which metrics there
                # are: a resumed fit has them before its first step.
                variables.build(self.model, self.data_source.batch_spec)
            self._fingerprint = fingerprint.of(
                self.model, self.data_source, self._arguments
            )
        return self._fingerprint

    def reached(self, epoch: int, step: int) -> None:
        """Sets the position; calls `on_position` of callbacks."""
        self.epoch, self.step = epoch, step
        if self._listeners and self.queue.is_idle:
            for callback in self._listeners:
                callback.on_position(self)

    def trace(self) -> None:
        """Makes all variables, as the next step would, without running it."""
        self.queue.trace(self.epoch, self.step)

    def last_batch(self) -> tuple[Any, np.ndarray | None] | None:
        """The batch of the step before, as `(data, indices)`.

        `indices` are those of its examples in the data, or `None` if they are
        not known. Returns `None` if the batch is no longer available.
        """
        epoch, step = self.epoch, self.step - 1
        if step < 0:
            epoch, step = epoch - 1, (self.data_source.steps_per_epoch or 0) - 1
        found = self.data_source.batch(epoch, step)
        if found is not None or self.queue.last_batch is None:
            return found
        results = self.model.distribute_strategy.experimental_local_results
        # As it was before replicas got their parts
        whole = keras.tree.map_structure(
            lambda leaf: tf.concat(results(leaf), 0), self.queue.last_batch
        )
        return whole, None

    def capture(self, exactly: bool = True) -> State:
        """The whole state: nested dicts of numbers and arrays.

        Args:
            exactly: Whether data without a position are an error; otherwise
                they start from their beginning in the resumed fit.

        Raises:
            gdtrain.data.iterators.NoPosition: if data have none.
        """
        strategy = self.model.distribute_strategy
        reached = own_code.reached_from(self.model)
        position = None
        try:
            position = self.data_source.position()
        except NoPosition:
            if exactly:
                raise
        return {
            "epoch": self.epoch,
            "step": self.step,
            "steps_done": self.steps_done,
            "logs": copy.deepcopy(self.logs),
            "is_stopped": self.is_stopped,
            "is_finished": self.is_finished,
            "variables": {
                kind: variables.values(some, strategy)
                for kind, some in variables.of(self.model, reached).items()
            },
            "step_variables": self.model._step_hooks.step_variables.get_state(),
            "queue": copy.deepcopy(self.queue.get_state()),
            "data": position,
            "random": variables.get_random_state(),
            "callbacks": self._callback_states(),
            "fingerprint": self.fingerprint(),
            "rates": fingerprint.rates(self.model, reached),
            "saved_by": moving.layout_of(strategy)._asdict(),
        }

    def _callback_states(self) -> dict[str, dict[str, Any]]:
        """The state of each callback that has one, by name.

        One that raises is skipped, with a warning at the first time.
        """
        found = {}
        for name, callback in self._named.items():
            try:
                found[name] = _state_of(callback)
            except Exception as error:  # A user's own may raise anything.
                if name not in self._unsaved:
                    self._unsaved.add(name)
                    failures.warn(
                        f"The state of `{type(callback).__name__}` cannot be "
                        "saved",
                        error,
                        "All else is saved, and training continues; in a fit "
                        "that is resumed from there, it starts without a "
                        "state." + more("callback-state"),
                    )
        return {name: state for name, state in found.items() if state}

    def differences(self, state: State) -> Differences:
        """What this fit is asked to do otherwise than the one of a state."""
        there = state["fingerprint"]
        move = self.move(state)
        key = there, move.is_needed and (move.there, state["steps_done"])
        if self._compared[0] != key:
            found = fingerprint.differences(
                there, self.fingerprint(), state["rates"]
            )
            try:
                self._position_in(state)
            except NoPosition as error:
                why = f"{error}: the run was saved by {move.in_words()}"
                found["data", "position"] = why
            if variables.build(self.model, self.data_source.batch_spec):
                kinds = ("weight",) if found else _BUILT
                mismatch = self._mismatch(state, kinds)
                if mismatch:
                    found["variables", "shape"] = mismatch
            self._compared = key, found
        return self._compared[1]

    def move(self, state: State) -> Move:
        """Takes the values of a state to the replicas of this process."""
        return Move(state, self.model.distribute_strategy)

    def _position_in(self, state: State) -> Position | None:
        """The position of the data, here, that a state has.

        Raises:
            NoPosition: if another number of workers or replicas cannot
                continue from there.
        """
        move, position = self.move(state), state["data"]
        if not move.is_needed:
            return position
        differ = move.there.workers != move.here.workers
        return self.data_source.moved(position, state["step"], differ)

    def resume(self, state: State) -> None:
        """Chooses, before training begins, the state to continue from.

        Where this fit is asked to do something else than the one of the
        state, it does what it is asked to do: with its learning rate; with
        new variables of optimizer and metrics where the saved ones do not
        fit; and from the start of the epoch if its batches differ.
        """
        self.resumed_from = state
        self._move_to(state)
        for name, callback in self._named.items():
            saved = state["callbacks"].get(name)
            if isinstance(callback, keras.callbacks.CSVLogger) and saved:
                # Before `on_train_begin`, which would empty the file
                callback.append = True
                path, size = callback.filename, saved["bytes"]
                if os.path.exists(path) and os.path.getsize(path) > size:
                    os.truncate(path, size)  # What was written later

    def restore(self, state: State) -> None:
        """Makes everything as it was when `state` was captured.

        Within an epoch, it calls `on_epoch_begin` for that epoch, too.

        Raises:
            ValueError: if the model's variables do not fit.
        """
        self.resumed_from = None
        self._move_to(state)
        changed = self.differences(state).groups()
        self.model._step_hooks.step_variables.set_state(state["step_variables"])
        data = None if changed & _OF_BATCHES else self._position_in(state)
        self.data_source.go_to(self.epoch, self.step, data)
        self.trace()  # Makes those that are missing
        mismatch = self._mismatch(
            state, ("weight",) if changed else variables.KINDS
        )
        if mismatch:
            raise ValueError(
                "To resume a fit, the model must be the one that the "
                f"checkpoint was made of. Received: {mismatch}. Give this "
                "model a backup folder of its own, or use the other model "
                "again." + more("another-run")
            )
        begun = {"sums": None, "logs": {}} if changed else state["queue"]
        self.queue.set_state(begun)
        self.model.stop_training = False
        self._assign(state)
        if self.step and self.epoch < self.epochs:
            # Hooks may read the model, and may set what they set before.
            self._begin_epoch(self.epoch)
            self._assign(state)

    def _move_to(self, state: State) -> None:
        """Sets the position."""
        differs = self.differences(state).groups() & _OF_BATCHES
        self.epoch = state["epoch"]
        self.step = 0 if differs else state["step"]
        self.logs = state["logs"]
        self.is_stopped = state["is_stopped"]
        self.is_finished = state["is_finished"]
        self.model._step_hooks.steps_done = state["steps_done"]

    def _assign(self, state: State) -> None:
        """Sets variables, states of callbacks and random generators."""
        strategy = self.model.distribute_strategy
        found, move = self.differences(state), self.move(state)
        rates = fingerprint.rate_variables(self.model)
        asked = self.fingerprint()["rates"]
        for kind, some in variables.of(self.model).items():
            values = state["variables"][kind]
            fits = not _difference(move, kind, some, values)
            if fits and not (kind == "metric" and found.groups()):
                variables.assign(some, move.values(some, values), strategy)
            elif kind == "optimizer":
                self.model.optimizer.iterations.assign(state["steps_done"])
        for _, name in found:
            if name in rates and name in asked:
                rates[name].assign(asked[name])
        self._set_callback_states(state["callbacks"])
        variables.put_random_state(state["random"])

    def _set_callback_states(self, states: dict[str, dict]) -> None:
        """Sets the states of callbacks; warns of those that have none."""
        new = []
        for name, callback in self._named.items():
            state = copy.deepcopy(states.get(name, {}))
            for key in keras_callbacks.state_names(callback):
                if key in state:
                    setattr(callback, key, state[key])
            if isinstance(callback, keras.callbacks.History):
                callback.model.history = callback
            if _has(callback, "set_state"):
                if "own" in state:
                    callback.set_state(state["own"])
                else:
                    new.append(name)
        if new:
            warnings.warn(
                "The checkpoint has no state of these callbacks, which start "
                f"without one: {new}." + more("callback-state"),
                stacklevel=2,
            )

    def _mismatch(self, state: State, kinds: Iterable[str]) -> str | None:
        """What keeps variables from being set to those of a state."""
        here, move = variables.of(self.model), self.move(state)
        found = (
            _difference(move, kind, here[kind], state["variables"][kind])
            for kind in kinds
        )
        return next(filter(None, found), None)


def _difference(
    move: Move, kind: str, some: list[Variable], values: list[Value]
) -> str | None:
    """What keeps variables from being set to those of a state."""
    return variables.difference(kind, some, values) or (
        move.difference(kind, some, values)
    )


def _state_of(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """The state of a callback; empty if it has none."""
    names = keras_callbacks.state_names(callback)
    # Keras sets some of them later.
    state = {key: at for key, at in vars(callback).items() if key in names}
    if isinstance(callback, keras.callbacks.CSVLogger):
        state["bytes"] = _size(callback)
    if _has(callback, "get_state"):
        state["own"] = callback.get_state()
    # Callbacks change these lists while they are being saved.
    return copy.deepcopy(state)


def _has(callback: keras.callbacks.Callback, name: str) -> bool:
    """Whether a callback, of ours or not, has a method of state of its own."""
    hook = getattr(callback, name, None)
    return hook is not None and not keras_callbacks.is_default_hook(hook)


def _size(logger: keras.callbacks.CSVLogger) -> int:
    """How long the file of a `CSVLogger` is, in bytes."""
    file = logger.csv_file
    if file is not None and not file.closed:
        file.flush()
        if hasattr(file, "fileno"):  # Which a remote file lacks
            return os.fstat(file.fileno()).st_size  # Even if it was renamed
    path = logger.filename
    return os.path.getsize(path) if os.path.exists(path) else 0
