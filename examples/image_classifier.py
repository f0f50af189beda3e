"""Learns to read digits, or to sort clothes, by gradient descent from scratch.

    python examples/image_classifier.py                       digits
    python examples/image_classifier.py --data fashion_mnist  clothes

The loop that fits a line in linear_regression.py, on a larger scale: a step,
`Network.train_step`, moves all weights against the gradient of a loss in 64
images. Prints how many of the images held out are right; draws and saves.
Dropout and learning rate did well on a part of the training images, kept apart.
"""

import argparse
import datetime
import pathlib

import _quiet  # noqa: F401
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

import gdtrain

CLOTHES = "T-shirt,trousers,pullover,dress,coat,sandal,shirt,sneaker,bag,boot"


class Network(gdtrain.Model):
    def train_step(self, data):
        images, labels = data
        with tf.GradientTape() as tape:
            outputs = self(images, training=True)
            loss = self.compute_loss(images, labels, outputs)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        right = keras.metrics.sparse_categorical_accuracy(labels, outputs)
        return {"loss": loss, "accuracy": tf.reduce_mean(right)}


def make_network(shape, filters, variation):
    """Convolutions from images of 0 to 255 to probabilities of 10 classes."""
    images = keras.Input(shape, dtype="uint8")
    x = layers.Rescaling(1 / 255)(layers.Reshape((*shape, 1))(images))
    x = variation(x)
    for block, count in enumerate(filters):
        x = layers.MaxPooling2D()(x) if block else x
        x = layers.Conv2D(count, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    return Network(images, layers.Dense(10, activation="softmax")(x))


def digits():
    """Images; class names; a network. The last 360 are by other people."""
    data = load_digits()
    x, y = np.round(data.images * (255 / 16)).astype("uint8"), data.target
    shift = layers.RandomTranslation(0.1, 0.1, fill_mode="constant")
    network = make_network((8, 8), [32, 64], shift)
    arrays = x[:-360], y[:-360], x[-360:], y[-360:]
    return arrays, list("0123456789"), network


def fashion_mnist():
    """The same. Keras downloads them to ~/.keras/datasets/fashion-mnist, or
    finds there what Debian has in /usr/share/datasets/fashion-mnist."""
    (x, y), held_out = keras.datasets.fashion_mnist.load_data()
    flip = layers.RandomFlip("horizontal")
    network = make_network((28, 28), [32, 64, 128], flip)
    return (x, y, *held_out), CLOTHES.split(","), network


DATA = {"digits": (digits, 30), "fashion_mnist": (fashion_mnist, 10)}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", choices=DATA, default="digits")
    add("--epochs", type=int, help="default: 30, or 10 for fashion_mnist")
    add("--learning-rate", type=float, default=0.01, help="of the first step")
    add("--seed", type=int, default=0, help="of all that is drawn")
    add("--output", default="output/image_classifier", help="a folder")
    options = parser.parse_args(argv)
    make, epochs = DATA[options.data]
    epochs = epochs if options.epochs is None else options.epochs
    rate, folder = options.learning_rate, options.output
    if epochs < 1 or not 0 < rate < np.inf:
        parser.error("--epochs and --learning-rate must be positive numbers.")
    log = f"{folder}/logs/{datetime.datetime.now():%Y%m%d-%H%M%S}"
    try:
        keras.utils.set_random_seed(options.seed)
        (x, y, images, labels), names, model = make()
        pathlib.Path(log).mkdir(parents=True, exist_ok=True)
    except Exception as error:  # Keras has no other kind for a failed download
        parser.exit(2, f"error: {error}\n")

    steps = epochs * -(-len(x) // 64)
    decay = keras.optimizers.schedules.CosineDecay(rate, steps)
    descent = gdtrain.GradientDescent(decay, momentum=0.9, nesterov=True)
    model.compile(descent, loss="sparse_categorical_crossentropy")
    shown = [gdtrain.plots.Predictions(images, labels, names)]
    guard = gdtrain.callbacks.NonfiniteGuard()
    callbacks = [guard, gdtrain.callbacks.TensorBoard(log, pictures=shown)]
    model.fit(x, y, 64, epochs, verbose=2, callbacks=callbacks)
    if guard.report:
        parser.exit(2, "error: training diverged. Lower --learning-rate.\n")
    outputs = model.predict(images, verbose=0)
    judged = labels, outputs, names
    gdtrain.plots.predictions(images, *judged, f"{folder}/predictions.png")
    gdtrain.plots.confusion(*judged, f"{folder}/confusion.png")
    # Not as a `Network`, so that Keras alone loads it
    keras.Model(model.inputs, model.outputs).save(f"{folder}/model.keras")
    right = (outputs.argmax(axis=1) == labels).mean()
    print(f"Right: {right:.1%} of {len(images):,} images held out.")
    print(f"Pictures, model: {folder}. Log: tensorboard --logdir {folder}/logs")
    return model, right


if __name__ == "__main__":
    main()
