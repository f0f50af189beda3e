"""Peers that call `fit`: stock Keras, Keras at its best, and gdtrain."""

import keras
import tensorflow as tf

import gdtrain

# Fewer where a step takes long: in epochs of one, and convolutions in a loop
# under XLA. More where `jit_compile="auto"` is to find a run that is long
# enough to try XLA; which is so from the first repeat on.
EPOCHS = {
    ("gdtrain", "line"): 20_000,
    ("gdtrain", "line_batches"): 400,
    ("gdtrain", "digits_mlp"): 200,
    ("gdtrain_xla", "line"): 20_000,
    ("keras", "line"): 50,
    ("keras_best", "line"): 400,
    ("gdtrain_xla", "digits_cnn"): 2,
    ("gdtrain_xla", "cnn_28"): 1,
}

# What was the fastest of several on two cores: steps an execution, XLA.
BEST = {
    "line": (1, False),
    "line_batches": (50, True),
    "digits_mlp": (23, True),
    "digits_cnn": (23, False),
    "cnn_28": (20, False),
}


def prepare(name, job, shorten=1):
    """The peer of that name, ready to train; see `fit_speed`."""
    epochs = EPOCHS.get((name, job.name), job.epochs)
    return Fit(name, job, max(1, epochs // shorten))


def model(base, job, **compile_arguments):
    """The job's network with its first weights, compiled."""
    layers = [keras.Input(job.x.shape[1:])]
    for kind, *arguments in job.layers:
        if kind == "dense":
            activation = "relu" if arguments[1] else None
            layers.append(keras.layers.Dense(arguments[0], activation))
        elif kind == "conv":
            filters, padding = arguments
            layers.append(
                keras.layers.Conv2D(
                    filters, 3, padding=padding, activation="relu"
                )
            )
        elif kind == "pool":
            layers.append(keras.layers.MaxPooling2D())
        else:
            layers.append(keras.layers.Flatten())
    made = base(layers)
    made.set_weights(job.weights)
    made.compile(optimizer(job), loss(job), **compile_arguments)
    made.optimizer.build(made.trainable_variables)
    return made


def optimizer(job):
    """The job's optimizer, of Keras."""
    made = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    return made[job.optimizer](job.learning_rate)


def loss(job):
    """The job's loss, of Keras."""
    if job.is_classifier:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return keras.losses.MeanSquaredError()


def pipeline(job):
    """The job's data as a `tf.data.Dataset`: cached, shuffled, prefetched."""
    data = tf.data.Dataset.from_tensor_slices((job.x, job.y))
    if job.is_full_batch:
        return data.batch(job.batch_size).cache().prefetch(tf.data.AUTOTUNE)
    data = data.cache().shuffle(len(job.x)).batch(job.batch_size)
    return data.prefetch(tf.data.AUTOTUNE)


class Fit:
    """Trains by `fit`, as the name of the peer says."""

    def __init__(self, name, job, epochs):
        self.epochs = epochs
        self._steps = epochs * job.steps_per_epoch
        self._has_telemetry = name in ("gdtrain", "gdtrain_xla")
        base = keras.Sequential
        how = {}
        self._data = {"x": job.x, "y": job.y, "batch_size": job.batch_size}
        if name == "keras_best":
            steps, jit_compile = BEST[job.name]
            how = {"steps_per_execution": steps, "jit_compile": jit_compile}
            self._data = {"x": pipeline(job), "shuffle": False}
        elif name != "keras":
            base = gdtrain.Sequential
            how = {"jit_compile": True} if name == "gdtrain_xla" else {}
        self._model = model(base, job, **how)
        self._variables = (
            self._model.variables + self._model.optimizer.variables
        )
        self._values = [variable.numpy() for variable in self._variables]

    def reset(self):
        """Back to the first weights; not timed."""
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)
        self._telemetry = gdtrain.callbacks.Telemetry()

    def run(self):
        """Trains; timed."""
        self._history = self._model.fit(
            **self._data,
            epochs=self.epochs,
            verbose=0,
            callbacks=[self._telemetry] if self._has_telemetry else [],
        )

    def losses(self):
        """The loss of each epoch; not timed."""
        if self._has_telemetry and len(self._telemetry.steps) != self._steps:
            raise AssertionError(
                f"Telemetry kept {len(self._telemetry.steps)} steps of "
                f"{self._steps}."
            )
        return self._history.history["loss"]
