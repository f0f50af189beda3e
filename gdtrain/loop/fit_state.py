"""A run of `fit`: where it is, and all that it consists of."""

import copy
import functools
import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.data.iterator_state import NoPosition
from gdtrain.state import (
    callback_states,
    fingerprint,
    random_state,
    reach,
    variables,
)

VERSIONS = {
    "keras": keras.__version__,
    "numpy": np.__version__,
    "tensorflow": tf.__version__,
}


_BUILT = ("weight", "optimizer", "metric")  # Others may come with a step
_FEEDS = {"data", "fit"}  # Groups by which batches differ


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
        arguments: What else `fit` was given, by name; see `identity.of`.

    Attributes:
        epoch, step: Of the step that comes next; both count from 0.
        logs: Of the last epoch that ended.
        is_stopped: Whether `stop_training` ended it.
        is_over: Whether there are no more epochs to come.
        is_finished: Whether `on_train_end` was called as well.
        has_failed: Whether a callback found it not worth saving any more.
    """

    def __init__(self, model, feed, callbacks, epoch, epochs, arguments=None):
        self.model = model
        self.feed = feed
        self.callbacks = callbacks
        self.epoch, self.epochs = epoch, epochs
        self.step = 0
        self.logs = None
        self.is_stopped = self.is_over = self.is_finished = False
        self.has_failed = False
        self.ahead: Any = None  # The `Ahead`, once training has begun
        self._arguments = arguments or {}
        self._resumed: Any = None  # The state to go on from
        self._found: dict[str, dict] = {}  # Differences by identity
        self._without: set[str] = set()  # Callbacks whose state is not saved
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
    def identity(self):
        """What it is asked to be, as text; see `gdtrain.state.fingerprint`."""
        return json.dumps(
            fingerprint.of(self.model, self.feed, self._arguments)
        )

    @functools.cached_property
    def _rates_asked(self):
        """Learning rates that it is asked for."""
        return fingerprint.rates(self.model)

    def identify(self):
        """Notes what it is asked to be, which training may change.

        To be called before training begins by who wants to save states.
        """
        if self.model.built:
            # What a step is seen to return depends on which metrics there
            # are: a run that is gone on with has them before its first step.
            variables.build(self.model, self.feed.batch_spec)
        return self.identity, self._rates_asked

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
            gdtrain.data.iterator_state.NoPosition: if the data cannot be set
                back.
        """
        strategy = self.model.distribute_strategy
        reached = reach.of(self.model)
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
            "memory": self.model.step_observers.memory.get_state(),
            "means": copy.deepcopy(self.ahead.get_state()),
            "position": self._position(exactly),
            "random": random_state.get(),
            "callbacks": callback_states.get(self.callbacks, self._without),
            "identity": self.identity,
            "rates": fingerprint.rates(self.model, reached),
            "versions": VERSIONS,
        }

    def _position(self, exactly):
        try:
            return self.feed.position()
        except NoPosition:
            if exactly:
                raise
        return None

    def differences(self, state):
        """In what another run was asked for that a state is of.

        Returns:
            A dict of sentences by group and name; see
            `gdtrain.state.fingerprint.differences`.
        """
        found = {}
        if state.get("identity", self.identity) != self.identity:
            found = fingerprint.differences(
                json.loads(state["identity"]),
                json.loads(self.identity),
                state["rates"],
            )
        if variables.build(self.model, self.feed.batch_spec):
            wrong = self._wrong(state, ("weight",) if found else _BUILT)
            if wrong:
                found["variables", "shape"] = wrong
        return found

    def not_compared(self):
        """Names of what cannot be compared with the run that it goes on with.

        Empty where it goes on with none.
        """
        if self._resumed is None:
            return []
        if "identity" not in self._resumed:
            return ["what was asked for then, as gdtrain 0.1.0 did not save it"]
        there = json.loads(self._resumed["identity"])
        return fingerprint.not_compared(there, json.loads(self.identity))

    def resume(self, state):
        """Says, before training begins, to go on from a state.

        Where another run was asked for than the one of the state, it goes on
        with what is asked for now: with this learning rate; with a new
        optimizer or new metrics where their variables do not fit; and from
        the start of the epoch where the data or how they are batched differ.
        """
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
        changed = self._changed(state)
        self.model.step_observers.memory.set_state(state["memory"])
        position = None if changed & _FEEDS else state["position"]
        self.feed.go_to(self.epoch, self.step, position)
        self.ahead.trace(self.epoch, self.step)  # Makes what is missing
        wrong = self._wrong(state, ("weight",) if changed else variables.KINDS)
        if wrong:
            raise ValueError(
                "To go on with a run, the model must be the one that the "
                f"checkpoint was made of. Received: {wrong}. Give this "
                "model a backup folder of its own, or go back to the "
                "other model."
            )
        means = {"sums": None, "logs": {}} if changed else state["means"]
        self.ahead.set_state(means)
        self.model.stop_training = False
        self._put(state)

    def begun_epoch(self):
        """To be called after `on_epoch_begin`, which may change something."""
        if self._resumed is not None and self.step:
            self._put(self._resumed)
        self._resumed = None

    def _go_to(self, state):
        self.epoch, self.step = state["epoch"], state["step"]
        if self._changed(state) & _FEEDS:
            self.step = 0
        self.logs = state["logs"]
        self.is_stopped = state["is_stopped"]
        self.is_finished = state["is_finished"]
        self.model.step_observers.steps_done = state["steps_done"]

    def _changed(self, state):
        """Groups of what is asked for now and was not, beside rates."""
        return {
            group
            for group, name in self._differences(state)
            if not _is_rate(name) and group != "validation"
        }

    def _differences(self, state):
        """As `differences`, found once for the same identity."""
        text = state.get("identity", self.identity)
        if text not in self._found:
            self._found[text] = self.differences(state)
        return self._found[text]

    def _put(self, state):
        """Sets all that may be set twice."""
        strategy = self.model.distribute_strategy
        rates = self._new_rates(state)
        changed = self._changed(state)
        for kind, some in variables.of(self.model).items():
            values = state["variables"][kind]
            fits = not variables.difference(kind, some, values)
            if fits and not (changed and kind == "metric"):
                variables.assign(some, values, strategy)
            elif kind == "optimizer":
                self.model.optimizer.iterations.assign(state["steps_done"])
        for variable, rate in rates:
            variable.assign(rate)
        callback_states.put(self.callbacks, state["callbacks"])
        random_state.put(state["random"])

    def _new_rates(self, state):
        """Variables and values of learning rates that were not, then."""
        now = fingerprint.rate_variables(self.model)
        return [
            (now[name], self._rates_asked[name])
            for _, name in self._differences(state)
            if name in now and name in self._rates_asked
        ]

    def _wrong(self, state, kinds):
        """What keeps variables from being set: a string, or `None`."""
        of = variables.of(self.model)
        for kind in kinds:
            wrong = variables.difference(
                kind, of[kind], state["variables"][kind]
            )
            if wrong:
                return wrong
        return None


def _is_rate(name):
    return name == "learning_rate" or name.endswith(".learning_rate")
