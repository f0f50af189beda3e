"""Rounds of trainings: all peers once, and all of them again."""

import gc
import statistics
import sys
import time

import numpy as np

PAUSE = 0.2  # Seconds; threads of the peer before spin for a while (BLAS).
LOOSE = 1.25  # Shuffling changes losses after the same epochs by up to 1.1.


def train(peer):
    """Trains a peer once from the start: `(seconds, loss of each epoch)`.

    Without garbage collection, as `timeit` does: with the objects of all peers
    in one process, it takes 0.2 seconds, of whichever peer it falls upon.
    """
    peer.reset()
    gc.collect()
    gc.disable()
    time.sleep(PAUSE)
    start = time.perf_counter()
    peer.run()
    seconds = time.perf_counter() - start
    gc.enable()
    losses = np.array([float(loss) for loss in peer.losses()])
    return seconds, losses.reshape(peer.epochs, -1).mean(axis=1).tolist()


def check(job, losses):
    """Raises if a peer did not train as the others did.

    Args:
        job: The job.
        losses: For each peer, a list of the losses of each epoch.
    """
    first = "numpy" if "numpy" in losses else "keras"
    reference = max(losses, key=lambda name: (len(losses[name]), name == first))
    expected = losses[reference]
    if len(expected) > 1 and not expected[-1] < 0.9 * expected[0]:
        raise AssertionError(f"{job.name}: {reference} did not learn.")
    for name, values in losses.items():
        ratio = values[-1] / expected[len(values) - 1]
        if not 1 / LOOSE < ratio < LOOSE:
            raise AssertionError(
                f"{job.name}: after {len(values)} epochs, the loss of {name} "
                f"is {values[-1]:.4g}, {ratio:.3g} times {reference}'s."
            )


def measure(job, prepare, repeats, shorten):
    """What the peers need for a job, as a dict that JSON can hold."""
    peers = {name: make(name, job, shorten) for name, make in prepare.items()}
    peers = {name: peer for name, peer in peers.items() if peer is not None}
    rounds = []
    for number in range(1 + repeats):
        rounds.append({name: train(peer) for name, peer in peers.items()})
        check(job, {name: losses for name, (_, losses) in rounds[-1].items()})
        print(f"{job.name}: {number} of {repeats} repeats", file=sys.stderr)
    result = {}
    for name, peer in peers.items():
        steps = peer.epochs * job.steps_per_epoch
        each = [one[name][0] / steps * 1e6 for one in rounds]
        result[name] = {
            "steps": steps,
            "epochs": peer.epochs,
            "microseconds_a_step": statistics.median(each[1:]),
            "repeats": each[1:],
            "first_call_seconds": rounds[0][name][0],
            "final_losses": [one[name][1][-1] for one in rounds],
        }
    return result
