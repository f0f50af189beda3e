"""How many steps a block has: until a callback must see the model."""

import functools
import math
from collections.abc import Callable, Iterable, Sequence

import keras

from gdtrain.block.xla_choice import Speed
from gdtrain.descent import settings
from gdtrain.keras_bridge import callbacks as keras_callbacks
from gdtrain.loop.callback import Callback, Sync

SYNCS: tuple[Sync, ...] = ("never", "epoch", "batch")

_callbacks = keras.callbacks


def _by_save_freq(
    callback: keras.callbacks.ModelCheckpoint
    | keras.callbacks.BackupAndRestore,
) -> Sync:
    return "epoch" if callback.save_freq == "epoch" else "batch"


def _by_update_freq(callback: keras.callbacks.TensorBoard) -> Sync:
    never = callback.update_freq == "epoch" and not (
        keras_callbacks.may_profile(callback) or callback.write_steps_per_second
    )
    return "epoch" if never else "batch"


# By exact type: a subclass may look at anything.
_KNOWN: dict[type, Callable[..., Sync]] = {
    _callbacks.History: lambda callback: "never",
    _callbacks.ProgbarLogger: lambda callback: "never",
    _callbacks.CSVLogger: lambda callback: "never",
    _callbacks.RemoteMonitor: lambda callback: "never",
    _callbacks.ModelCheckpoint: _by_save_freq,
    _callbacks.BackupAndRestore: _by_save_freq,
    _callbacks.TensorBoard: _by_update_freq,
}


def sync_of(
    callbacks: Iterable[keras.callbacks.Callback], mode: str = "train"
) -> Sync:
    """When the most demanding of some callbacks must see the model.

    Args:
        callbacks: Keras callbacks.
        mode: `"train"`, `"test"` or `"predict"`.

    Raises:
        ValueError: if the `sync` of a callback is no such word.
    """
    syncs = [_sync_of_one(callback, mode) for callback in callbacks]
    return max(syncs, key=SYNCS.index, default="never")


def _sync_of_one(callback: keras.callbacks.Callback, mode: str) -> Sync:
    if isinstance(callback, Callback) and callback.sync is not None:
        if callback.sync not in SYNCS:
            raise ValueError(
                f"`sync` of a callback must be one of {SYNCS}. Received: "
                f"{callback.sync!r} of {type(callback).__name__}."
            )
        return callback.sync
    if type(callback) in _KNOWN:
        return _KNOWN[type(callback)](callback)
    if hooks_batches([callback], mode):
        return "batch"
    if mode == "train" and hooks_epochs([callback]):
        return "epoch"
    return "never"


def hooks_batches(
    callbacks: Iterable[keras.callbacks.Callback], mode: str = "train"
) -> bool:
    """Whether any of some callbacks has a hook of batches."""
    names = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
    if mode == "train":
        names += ["on_batch_begin", "on_batch_end"]
    return any(_hooks(callback, *names) for callback in callbacks)


def hooks_epochs(callbacks: Iterable[keras.callbacks.Callback]) -> bool:
    """Whether any of some callbacks has a hook of epochs."""
    names = "on_epoch_begin", "on_epoch_end"
    return any(_hooks(callback, *names) for callback in callbacks)


def _hooks(callback: keras.callbacks.Callback, *names: str) -> bool:
    return any(
        not keras_callbacks.is_default_hook(getattr(callback, name))
        for name in names
    )


SECONDS = 0.2  # A block lasts about that long, unless it has to end earlier
SHORT_EPOCH = 0.02  # Seconds; the time around a block is about 0.0005

_PROGRESS_BAR = keras.callbacks.ProgbarLogger


class Pace:
    """How many steps blocks and slices of a block have.

    What a callback changes of the model takes effect with the next block.

    Args:
        model: A `DescentTrainer`; its `steps_per_execution` is `"auto"`, or
            the number of steps of each execution.
        callbacks: Keras callbacks.
        mode: `"train"`, `"test"` or `"predict"`.
        epochs: The number of the last epoch, plus 1.
        epochs_until_validation: Given an epoch and how many are left, returns
            how many end, with it, until the model is evaluated.
    """

    def __init__(
        self,
        model: keras.Model,
        callbacks: Sequence[keras.callbacks.Callback],
        mode: str = "train",
        epochs: int = 1,
        epochs_until_validation: Callable[[int, int], int] | None = None,
    ) -> None:
        self.model = model
        self._callbacks, self.mode = callbacks, mode
        self._epochs = epochs
        self._epochs_until_validation = epochs_until_validation

    # Found when training begins: `sync` may depend on other callbacks.
    @functools.cached_property
    def sync(self) -> Sync:
        """When the most demanding callback must see the model."""
        return sync_of(self._callbacks, self.mode)

    @functools.cached_property
    def _hooks_each(self) -> bool:
        others = [c for c in self._callbacks if type(c) is not _PROGRESS_BAR]
        return hooks_batches(others, self.mode)

    @property
    def fixed_steps(self) -> int | None:
        """The number of steps of each execution; `None` if not fixed."""
        setting = settings.of(self.model).steps_per_execution
        if setting == "auto":
            return 1 if self.sync == "batch" else None
        return setting

    @property
    def max_slice(self) -> float:
        """How many steps one call of hooks of batches may stand for.

        One, if a callback has such hooks, except for the progress bar: it
        needs the last step of a block only.
        """
        return self.fixed_steps or (1 if self._hooks_each else math.inf)

    def steps(
        self,
        speed: Speed,
        length: int | None,
        epoch: int = 0,
        step: int = 0,
        spans_epochs: bool = False,
    ) -> float:
        """How many steps the next block has.

        Args:
            speed: How fast steps are.
            length: How many steps an epoch has; `None` if unknown.
            epoch, step: Where the block begins.
            spans_epochs: Whether it may continue in the next epoch. Only
                epochs that are shorter than the overhead of a block gain by
                it; with longer ones, callbacks that read a clock see when
                epochs end.
        """
        left = math.inf if length is None else length - step
        if self.fixed_steps is not None:
            return min(self.fixed_steps, left)
        if spans_epochs and length and speed.seconds(length) < SHORT_EPOCH:
            left += (self._epochs_until_sync(epoch) - 1) * length
        if self.mode == "train":
            left = min(left, self.model._step_hooks.steps_until_sync())
        return min(speed.steps_in(SECONDS), left)

    def steps_left(self, length: int | None, epoch: int, step: int) -> int:
        """How many steps are left of all epochs, as far as that is known."""
        return (self._epochs - epoch) * length - step if length else 0

    def _epochs_until_sync(self, epoch: int) -> int:
        """How many epochs, with this one, end until Python sees the model."""
        left = self._epochs - epoch
        if self.sync != "never":
            return 1
        if self._epochs_until_validation is None:
            return left
        return self._epochs_until_validation(epoch, left)
