"""A run of `fit`: where it is, and all that it consists of."""

import copy
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain import keras_bridge
from gdtrain.engine import callback_states, random_state, variables
from gdtrain.feeds.position import NoPosition

VERSIONS = {
    "keras": keras.__version__,
    "numpy": np.__version__,
    "tensorflow": tf.__version__,
}


class GoBack(Exception):
    """Raised by a callback's `on_run_reached` to go on from a state before.

    Args:
        state: What `Run.state` gave.
    """

    def __init__(self, state):
        super().__init__()
        self.state = state


class Run:
    """A run, between two blocks of steps.

    A callback is told of it if it has `on_run_begin(run)`, called before
    `on_train_begin`; it may then call `resume`. And if it has
    `on_run_reached(run)`, that is called whenever the model is as the
    callbacks know it, so that `state` is of one moment; it may raise `GoBack`.

    Args:
        model: A `DescentTrainer`, compiled.
        feed: The training data, a feed.
        callbacks: A list of callbacks.
        epoch: The first one.
        epochs: The one that comes after the last.

    Attributes:
        epoch, step: Of the step that comes next; both count from 0.
        logs: Of the last epoch that ended.
        is_stopped: Whether `stop_training` ended it.
        is_over: Whether there are no more epochs to come.
        is_finished: Whether `on_train_end` was called as well.
        has_failed: Whether a callback found it not worth saving any more.
    """

    def __init__(self, model, feed, callbacks, epoch, epochs):
        self.model = model
        self.feed = feed
        self.callbacks = callbacks
        self.epoch, self.epochs = epoch, epochs
        self.step = 0
        self.logs = None
        self.is_stopped = self.is_over = self.is_finished = False
        self.has_failed = False
        self.ahead: Any = None  # The `Ahead`, once training has begun
        self._resumed: Any = None  # The state to go on from
        # Those that guard come first: what they stop must not be saved.
        self._listeners = sorted(
            (c for c in callbacks if hasattr(c, "on_run_reached")),
            key=lambda callback: not getattr(callback, "guards", False),
        )

    @property
    def steps_done(self):
        """How many updates the model has behind it."""
        return self.model.step_observers.steps_done

    @functools.cached_property
    def marks(self):
        """What another run must have in common to go on from a state."""
        return {
            "data": self.feed.fingerprint(),
            "seed": keras_bridge.random_seed(),
        }

    def last_batch(self):
        """The batch of the step before: `(data, indices)`.

        Indices are those of its examples in the data, or `None` if they are
        not known. `None` if there is no such batch any more.
        """
        epoch, step = self.epoch, self.step - 1
        if step < 0:
            epoch, step = epoch - 1, (self.feed.steps_per_epoch or 0) - 1
        found = self.feed.batch(epoch, step)
        if found is None and self.ahead.last_batch is not None:
            found = self._whole(self.ahead.last_batch), None
        return found

    def _whole(self, batch):
        """A batch, as it was before it was given to replicas in parts."""
        strategy = self.model.distribute_strategy
        return keras.tree.map_structure(
            lambda leaf: tf.concat(
                strategy.experimental_local_results(leaf), 0
            ),
            batch,
        )

    def begin(self):
        """Tells callbacks that it begins."""
        for callback in self.callbacks:
            if hasattr(callback, "on_run_begin"):
                callback.on_run_begin(self)

    def reached(self, epoch, step):
        """Notes how far it is, and tells those who want to know."""
        self.epoch, self.step = epoch, step
        if self._listeners and self.ahead.is_idle:
            for callback in self._listeners:
                callback.on_run_reached(self)

    def state(self, exactly=True):
        """All that it consists of: nested dicts of numbers and arrays.

        Args:
            exactly: Whether data that cannot be set back are an error; else
                they begin anew.

        Raises:
            gdtrain.feeds.position.NoPosition: if the data cannot be set back.
        """
        strategy = self.model.distribute_strategy
        return {
            "epoch": self.epoch,
            "step": self.step,
            "steps_done": self.steps_done,
            "logs": copy.deepcopy(self.logs),
            "is_stopped": self.is_stopped,
            "is_finished": self.is_finished,
            "variables": {
                kind: variables.values(some, strategy)
                for kind, some in variables.of(self.model).items()
            },
            "memory": self.model.step_observers.memory.get_state(),
            "means": copy.deepcopy(self.ahead.get_state()),
            "position": self._position(exactly),
            "random": random_state.get(),
            "callbacks": callback_states.get(self.callbacks),
            "marks": self.marks,
            "versions": VERSIONS,
        }

    def _position(self, exactly):
        try:
            return self.feed.position()
        except NoPosition:
            if exactly:
                raise
        return None

    def resume(self, state):
        """Says, before training begins, to go on from a state.

        Raises:
            ValueError: if it belongs to another model, data, batch size or
                seed.
        """
        self._check(state)
        self._resumed = state
        self._go_to(state)
        callback_states.prepare(self.callbacks, state["callbacks"])

    def restore_resumed(self):
        """Goes where `resume` said, if it did; once callbacks have begun."""
        if self._resumed is not None:
            self.restore(self._resumed)

    def restore(self, state):
        """Becomes what it was."""
        self._resumed = state
        self._go_to(state)
        self.model.step_observers.memory.set_state(state["memory"])
        self.feed.go_to(self.epoch, self.step, state["position"])
        self.ahead.trace(self.epoch, self.step)  # Makes what is missing
        self._check_variables(state["variables"])
        self.ahead.set_state(state["means"])
        self.model.stop_training = False
        self._put(state)

    def begun_epoch(self):
        """To be called after `on_epoch_begin`, which may change something."""
        if self._resumed is not None and self.step:
            self._put(self._resumed)
        self._resumed = None

    def _go_to(self, state):
        self.epoch, self.step = state["epoch"], state["step"]
        self.logs = state["logs"]
        self.is_stopped = state["is_stopped"]
        self.is_finished = state["is_finished"]
        self.model.step_observers.steps_done = state["steps_done"]

    def _put(self, state):
        """Sets all that may be set twice."""
        strategy = self.model.distribute_strategy
        for kind, some in variables.of(self.model).items():
            variables.assign(some, state["variables"][kind], strategy)
        callback_states.put(self.callbacks, state["callbacks"])
        random_state.put(state["random"])

    def _check(self, state):
        """Refuses a state that does not belong to this run."""
        for what, here in self.marks.items():
            if here != state["marks"][what]:
                raise ValueError(_refusal(what, here, state["marks"][what]))
        if variables.build(self.model, self.feed.batch_spec):
            self._check_variables(state["variables"])

    def _check_variables(self, values):
        for kind, some in variables.of(self.model).items():
            wrong = variables.difference(kind, some, values[kind])
            if wrong:
                raise ValueError(
                    "To go on with a run, the model must be the one that the "
                    f"checkpoint was made of. Received: {wrong}. Give this "
                    "model a backup folder of its own, or go back to the "
                    "other model."
                )


def _refusal(what, here, there):
    """Why a state belongs to another run."""
    if isinstance(here, dict) and isinstance(there, dict):
        names = [n for n in here if here[n] != there.get(n)]
        what = names[0] if names else what
        here, there = here.get(what), there.get(what)
    return (
        f"To go on with a run, its `{what}` must be the same. Received: "
        f"{here!r}; in the checkpoint it is {there!r}. Set it back, or give "
        "this run a backup folder of its own."
    )
