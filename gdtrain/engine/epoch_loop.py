"""The loop over the steps of an epoch."""

from typing import Any, NamedTuple

from gdtrain.engine import sight


class Hooks(NamedTuple):
    """What is called around the steps that run between two looks.

    Args:
        begin: `begin(step)`, or `None` if nobody wants to know.
        end: `end(step, logs)` with the last of the steps.
        stopped: `stopped()` says whether to break off.
        reached: `reached(epoch, step)` is told how far it is, within an
            epoch, or `None` if nobody wants to know.
    """

    begin: Any
    end: Any
    stopped: Any
    reached: Any = None


def hooks_of(callbacks, mode, stopped, reached=None):
    """`Hooks` of a `CallbackList`.

    Args:
        callbacks: The list.
        mode: `"train"`, `"test"` or `"predict"`.
        stopped, reached: As in `Hooks`.
    """
    if not sight.hooks_batches(callbacks.callbacks, mode):
        return Hooks(None, None, stopped, reached)
    return Hooks(
        getattr(callbacks, f"on_{mode}_batch_begin"),
        getattr(callbacks, f"on_{mode}_batch_end"),
        stopped,
        reached,
    )


def run(ahead, feed, hooks, epoch=0, step=0):
    """Runs one epoch, or what is left of it.

    Args:
        ahead: The `Ahead` that runs the steps.
        feed: Its feed.
        hooks: `Hooks`.
        epoch: Which one.
        step: Where to begin.

    Returns:
        What `History` shows of the epoch.
    """
    if step == 0:
        ahead.begin_epoch()
    section = None
    feed.begin_epoch(epoch, step)
    length = feed.steps_per_epoch
    while length is None or step < length:
        if hooks.begin:
            # None is told of a step that there is no batch for.
            if not ahead.has_next(epoch, step):
                section = None
                break
            hooks.begin(step)
        section = ahead.next(epoch, step, is_last=hooks.stopped())
        if section is None:
            break
        if hooks.end:
            hooks.end(step + section.counted - 1, section.logs())
        step += section.steps
        if hooks.reached and step != length:
            hooks.reached(epoch, step)
        if hooks.stopped():
            break
    feed.end_epoch(step, ran_out=section is None)
    if section is not None and section.epoch_logs is not None:
        return section.epoch_logs
    return ahead.epoch_logs()
