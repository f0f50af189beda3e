"""Trainings of a peer in a process of its own, and whether peers agree."""

import gc
import importlib
import statistics
import time

import numpy as np

from tests.benchmarks import jobs

#: The module of each peer.
PEERS = {
    "keras": "peers_keras",
    "keras_best": "peers_keras",
    "gdtrain": "peers_keras",
    "gdtrain_xla": "peers_keras",
    "gdtrain_bare": "peers_keras",
    "lecture": "peers_lecture",
    "numpy": "peers_numpy",
    "torch": "peers_torch",
    "jax_step": "peers_jax",
    "jax_scan": "peers_jax",
}
PAUSE = 0.2  # Seconds; threads of the training before spin for a while (BLAS).
LONG = 10.0  # Seconds of a training that is repeated once only
LOOSE = 1.25  # Shuffling changes losses after the same epochs by up to 1.1.


def train(peer):
    """Trains a peer once from the start: `(seconds, loss of each epoch)`.

    Without garbage collection, as `timeit` does: it takes 0.2 seconds, of
    whichever training it falls upon.
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


def measure(peer, names, repeats, shorten):
    """What a peer needs for some jobs, as a dict that JSON can hold.

    Args:
        peer: Its name.
        names: Of the jobs, a list.
        repeats: How often it trains for each, after a first time.
        shorten: Divides the number of epochs.

    Returns:
        By job, what it needs, or `None` if the peer leaves the job out; or a
        text, why it cannot be had.
    """
    try:
        module = importlib.import_module(f"tests.benchmarks.{PEERS[peer]}")
    except ImportError as error:
        return str(error)
    found = {}
    for name in names:
        job = jobs.make(name)
        made = module.prepare(peer, job, shorten)
        if made is None:
            found[name] = None
            continue
        first = train(made)
        times = 1 if first[0] > LONG else repeats
        rest = [train(made) for _ in range(times)]
        steps = made.epochs * job.steps_per_epoch
        median = statistics.median(seconds for seconds, _ in rest)
        found[name] = {
            "steps": steps,
            "microseconds_a_step": median / steps * 1e6,
            "first_call_seconds": first[0],
            "losses": rest[-1][1],
        }
    return found
