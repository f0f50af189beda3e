"""All learning rates at once, for models that can be stacked."""

import keras

from gdtrain import keras_bridge
from gdtrain.insight.sweeps import stacked_optimizer
from gdtrain.insight.sweeps.run import Run
from gdtrain.insight.sweeps.stacked_loop import StackedLoop
from gdtrain.insight.sweeps.stacked_model import StackedModel
from gdtrain.trainer import DescentTrainer

#: Weights of all runs together, at most. Larger ones keep a CPU busy one by
#: one, so that nothing would be gained for the memory.
MOST_WEIGHTS = 2**22

# Operations that draw from a state that is not the model's
_RANDOM = (
    "Multinomial",
    "ParameterizedTruncatedNormal",
    "Random",
    "Rng",
    "TruncatedNormal",
)


class NotStackable(Exception):
    """Says why a model cannot be trained at several rates at once."""


def train(job, progress):
    """Trains at all learning rates of a job in one program.

    Args:
        job: A `Job`.
        progress: Called with a number of epochs, of all runs together, and
            the losses of the last of them.

    Returns:
        A list of `Run`, one a learning rate.

    Raises:
        NotStackable: if that is not possible; nothing has been trained.
    """
    model = job.model()
    if not model.built:
        raise NotStackable("it cannot be built before its first step")
    feed, validation = job.feed(), job.validation_feed()
    reason = _why_not(model, [feed, validation], len(job.learning_rates))
    if reason:
        raise NotStackable(reason)
    if not keras_bridge.build(model, feed.batch_spec):  # With its metrics
        raise NotStackable("its step cannot be traced")
    stacked = StackedModel(model, job.learning_rates)
    loop = StackedLoop(stacked, feed, validation)
    _trace(loop)
    names = list(model.get_metrics_result())
    loss = names.index("loss")
    losses, results = loop.run(
        job.epochs,
        lambda count, found: progress(count * stacked.runs, found[-1, loss]),
    )
    parts = [("", 0), ("val_", len(names))][: 1 + (validation is not None)]
    places = {
        prefix + name: first + names.index(name)
        for prefix, first in parts
        for name in sorted(names)  # As `fit` has them
    }
    return [
        Run(
            losses[:, run].copy(),
            {name: results[:, p, run].tolist() for name, p in places.items()},
            _weights(stacked, run),
        )
        for run in range(stacked.runs)
    ]


def _trace(loop):
    """Makes the program, or says why that cannot be done."""
    try:
        operations = loop.trace()
    except Exception as error:  # As many kinds as there are operations
        raise NotStackable(_first_line(error)) from error
    for name in sorted(operations):
        if name.startswith(_RANDOM):
            raise NotStackable(
                f"the random numbers of {name} would differ between runs"
            )


def _weights(stacked, run):
    """The trained weights of a run."""
    stacked.put(run)
    return stacked.model.get_weights()


def _why_not(model, feeds, runs):
    """Why a model cannot be stacked; `None` if nothing speaks against it."""
    if not all(feed is None or feed.plan.epochs_can_follow for feed in feeds):
        return "the data are not arrays that are kept on the device"
    if (
        type(model).train_step is not DescentTrainer.train_step
        or type(model).test_step is not keras.Model.test_step
    ):
        return "it has a step of its own"
    if any(v.constraint is not None for v in model.trainable_variables):
        return "a weight has a constraint"
    if model.microbatches > 1:
        return "it has micro-batches"
    if model.run_eagerly or model.jit_compile_setting is True:
        return "it was compiled to run eagerly or by XLA"
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return "it has several replicas"
    weights = runs * model.count_params()
    if weights > MOST_WEIGHTS:
        return (
            f"its weights would be {weights:,} numbers, and at most "
            f"{MOST_WEIGHTS:,} are stacked"
        )
    return stacked_optimizer.why_not(model.optimizer)


def _first_line(error):
    """An error in few words."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
