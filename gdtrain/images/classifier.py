"""A photo classifier: a model that takes photos and answers in words."""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common import checks
from gdtrain.common.whole_files import written_aside
from gdtrain.images import answers, classifier_file
from gdtrain.images.answers import Answer
from gdtrain.images.classifier_file import Facts
from gdtrain.images.decoding import Fit
from gdtrain.images.none_of_these import NoneOfThese
from gdtrain.model import Model, Sequential

_HEAD, _TEMPERATURE = "head", "temperature"  # Names of layers


@keras.saving.register_keras_serializable(package="gdtrain")
class PhotoClassifier(Model):
    """A `gdtrain.Model` of standard layers that classifies photos.

        photo 0..255 -> backbone -> head -> 1 / temperature -> softmax

    Made by `from_parts`, by `gdtrain.images.load`, or by
    `gdtrain.images.fine_tune`. `predict`, `compile` and `fit` are those of
    any model, on arrays `[n, height, width, channels]` of numbers from 0 to
    255. A layer's `trainable` that changes between two calls of `fit` takes
    effect in the second; a layer that becomes trainable needs `compile`
    before it, as the optimizer must know its weights.

    Example:

    >>> backbone = keras.Sequential([
    ...     keras.Input([8, 8, 3]), keras.layers.GlobalAveragePooling2D()
    ... ])
    >>> model = PhotoClassifier.from_parts(
    ...     backbone, np.array([[-1.0, 1.0]] * 3), np.array([300.0, -300.0]),
    ...     ["night", "day"], size=8,
    ... )
    >>> text = model.describe(np.full([20, 30, 3], 250, np.uint8))
    day (1.00)
    """

    _facts: Facts | None = None

    @classmethod
    def from_parts(
        cls,
        backbone_model: keras.Model,
        kernel: np.ndarray,
        bias: np.ndarray,
        class_names: Sequence[str],
        *,
        size: int | tuple[int, int],
        fit: Fit = "stretch",
        temperature: float = 1.0,
        none_of_these: NoneOfThese | None = None,
    ) -> "PhotoClassifier":
        """Joins a backbone and a head.

        Args:
            backbone_model: A `keras.Model` of photos, 0 to 255
                `[n, height, width, channels]`, to features `[n, d]`, with
                its preprocessing inside. It is shared, not copied.
            kernel: Weights of the head, `[d, classes]`.
            bias: Its biases, `[classes]`.
            class_names: The classes, in the order of `bias`.
            size: `(height, width)` of the photos that the backbone takes, in
                pixels, or one number for both.
            fit: How photos of other sizes are made to fit, as in
                `gdtrain.images.decode`. Defaults to `"stretch"`.
            temperature: What logits are divided by, so that probabilities
                are as often right as they say. Defaults to 1.0.
            none_of_these: Which photos are unlike all that was learned.
                Defaults to `None`: none is.

        Raises:
            ValueError: if the parts do not fit together.
        """
        size = checks.height_and_width("size", size)
        kernel = np.asarray(kernel, np.float32)
        bias = np.asarray(bias, np.float32)
        names = _checked_names(class_names, len(bias))
        _check(kernel, bias, fit)
        temperature = checks.positive_number(
            "temperature", temperature, "1.0 leaves probabilities as they are."
        )
        backbone, shape = _as_layer(backbone_model, size, kernel)
        inputs = keras.Input(shape, name="photo")
        features = backbone(inputs)
        head = keras.layers.Dense(len(names), name=_HEAD, dtype="float32")
        outputs = head(features)
        head.set_weights([kernel, bias])
        for layer in (
            keras.layers.Rescaling(
                1 / temperature, name=_TEMPERATURE, dtype="float32"
            ),
            keras.layers.Softmax(name="probabilities", dtype="float32"),
        ):
            outputs = layer(outputs)
        model = cls(inputs, outputs, name="photo_classifier")
        model._facts = Facts(names, fit, none_of_these)
        return model

    # No property below returns a layer: Keras would save the weights under
    # the property's name, where a plain Keras model does not look for them.

    @property
    def class_names(self) -> list[str]:
        """The name of each class; can be set."""
        return list(self._known.class_names)

    @class_names.setter
    def class_names(self, class_names: Sequence[str]) -> None:
        names = _checked_names(class_names, self.output_shape[-1])
        if self._facts is None:
            self._facts = Facts(names, "stretch")
        else:
            self._facts.class_names = names

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the photos that the backbone takes."""
        return self.input_shape[1:3]

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return 1 / self.get_layer(_TEMPERATURE).scale

    @property
    def none_of_these(self) -> NoneOfThese | None:
        """Which photos are unlike all that was learned; can be set.

        Training of the backbone changes its features, so this must be made of
        the new ones after that; `None` means that no photo is.
        """
        return self._known.none_of_these

    @none_of_these.setter
    def none_of_these(self, none_of_these: NoneOfThese | None) -> None:
        self._known.none_of_these = none_of_these

    def classify(
        self,
        photos: Any,
        *,
        batch_size: int = 32,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> list[Answer]:
        """Says what photos show.

        Args:
            photos: A photo or several, of any size: the path of a file or of
                a folder, with all photos in it and below; the bytes of a
                file, or one opened in binary mode; a Pillow image; an array
                or tensor, `[height, width]`, `[height, width, channels]` or
                `[n, height, width, channels]`, of 1, 3 or 4 channels and
                numbers from 0 to 255; or an iterable of these.
            batch_size: How many are in memory at once. Defaults to 32.
            on_error: What happens with photos that cannot be read: `"raise"`
                names all of them at the end, `"skip"` warns and gives no
                answer for them. Defaults to `"raise"`.

        Returns:
            An `Answer` for each photo; files of a folder sorted by path.

        Raises:
            ValueError: if photos cannot be read, or there are none in a
                folder.
            TypeError: if something else is given.
        """
        known = self._known
        found = []
        for sources, features, probabilities in self._run(
            photos, batch_size, on_error
        ):
            is_none = np.zeros(len(features), bool)
            if known.none_of_these is not None:
                none = known.none_of_these
                is_none = none.score(features) > none.threshold
            for source, row, no in zip(sources, probabilities, is_none):
                best = int(row.argmax())
                found.append(
                    Answer(
                        known.class_names[best],
                        float(row[best]),
                        row,
                        bool(no),
                        answers.path_of(source),
                    )
                )
        return found

    def describe(self, photo: Any) -> str:
        """Prints and returns what a photo shows: `hot dog (0.97)`.

        Args:
            photo: As in `classify`; several give a line each.
        """
        found = self.classify(photo)
        lines = [str(answer) for answer in found]
        if len(found) > 1:
            lines = [
                f"{answer.file}: {answer}" if answer.file else str(answer)
                for answer in found
            ]
        text = "\n".join(lines)
        print(text)
        return text

    def features(self, photos: Any, *, batch_size: int = 32) -> np.ndarray:
        """What the backbone gives for photos, float32 `[n, d]`.

        Args:
            photos, batch_size: As in `classify`.

        Raises:
            ValueError, TypeError: as in `classify`.
        """
        parts = [part for _, part, _ in self._run(photos, batch_size, "raise")]
        width = self.get_layer(_HEAD).kernel.shape[0]
        return np.concatenate([np.zeros([0, width], np.float32), *parts])

    def save(
        self, filepath: Any, overwrite: bool = True, **kwargs: Any
    ) -> None:
        """Saves all of the classifier as one `.keras` file, or nothing.

        `gdtrain.images.load` opens it, and so does `keras.saving.load_model`
        of any Keras, without gdtrain: as a functional model that predicts
        the same. Compiled with something of gdtrain's, such as
        `GradientDescent`, only `gdtrain.images.load` restores how.

        Args:
            filepath: The file, whose name ends in `.keras`.
            overwrite: Whether a file of this name may be replaced. Defaults
                to `True`.
            **kwargs: As in `keras.Model.save`.

        Raises:
            ValueError: if the name does not end in `.keras`.
            FileExistsError: if the file exists and may not be replaced.
        """
        classifier_file.check_writable(filepath, overwrite, ".keras")
        with written_aside(filepath, ".keras") as aside:
            super().save(aside, **kwargs)
            classifier_file.make_readable_without_gdtrain(aside)

    def export_saved_model(self, path: str | os.PathLike) -> None:
        """Writes a SavedModel: photos as in `predict` -> probabilities.

        Its endpoint `serve` takes float32 `[n, height, width, channels]`.
        Probabilities are calibrated: the temperature is within. The names of
        classes, in the order of the columns, are in
        `assets.extra/classifier.json`; which photos are none of these is not
        exported.

        Args:
            path: A folder; a SavedModel that is there is replaced.

        Raises:
            FileExistsError: if there is something else.
            OSError: if it cannot be written.
        """
        classifier_file.check_saved_model(path)
        self._export(path, "", "tf_saved_model")

    def export_tflite(self, path: str | os.PathLike) -> None:
        """Writes a TFLite model: photos as in `predict` -> probabilities.

        Takes float32 `[n, height, width, channels]`, one photo at a time
        unless its input is resized. Nothing is quantized. The temperature is
        within; the file is a ZIP archive too, with the names of classes:

            json.loads(ZipFile("model.tflite").read("classifier.json"))

        Args:
            path: The file, whose name ends in `.tflite`; it is replaced.

        Raises:
            ValueError: if the name does not end in `.tflite`.
            OSError: if it cannot be written.
        """
        classifier_file.check_writable(path, True, ".tflite")
        self._export(path, ".tflite", "litert")

    def save_assets(self, dir_path: str) -> None:
        """Writes what is not in the layers; called by Keras's `save`."""
        if self._facts is not None:
            classifier_file.write_facts(
                pathlib.Path(dir_path), self._facts, **self._of_layers
            )

    def load_assets(self, dir_path: str) -> None:
        """Reads what `save_assets` wrote; called by Keras's `load_model`."""
        self._facts = classifier_file.read_facts(pathlib.Path(dir_path))

    @property
    def _of_layers(self) -> dict[str, Any]:
        """What the layers say, for readers of files."""
        return {"size": list(self.size), "temperature": self.temperature}

    @property
    def _known(self) -> Facts:
        if self._facts is None:
            # Before Keras sets an attribute it reads it, ready for this error.
            raise AttributeError(
                "This classifier has no class names: copies that Keras makes "
                "of the layers alone, as by `clone_model`, have none. Set "
                "`model.class_names = [...]`."
            )
        return self._facts

    def _export(self, path: str | os.PathLike, ending: str, kind: str) -> None:
        """Writes an export whole or not at all."""
        with written_aside(path, ending) as aside:
            try:
                self.export(aside, format=kind, verbose=False)
            except tf.errors.OpError as error:  # Not an `OSError`
                why = error.message.rpartition("; ")[2]
                raise OSError(f"Cannot write {path}: {why}.") from error
            classifier_file.add_facts(aside, self._known, **self._of_layers)

    def _run(
        self, photos: Any, batch_size: int, on_error: str
    ) -> Iterator[tuple[list[Any], np.ndarray, np.ndarray]]:
        """Sources, features and probabilities, in batches."""
        known = self._known
        if known.program is None:
            spec = tf.TensorSpec([None, *self.input_shape[1:]])
            # Held outside the model, else it would be exported with it.
            known.program = tf.function(
                self._inference, [spec], autograph=False
            ).get_concrete_function()
        for sources, images in answers.batches(
            photos,
            self.input_shape[1:],
            known.fit,
            batch_size=batch_size,
            on_error=on_error,
        ):
            features, probabilities = known.program(tf.constant(images))
            yield sources, features.numpy(), probabilities.numpy()

    def _inference(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Features and probabilities, by the layers in turn."""
        _, backbone, *others = self.layers
        features = backbone(images, training=False)
        outputs = features
        for layer in others:
            outputs = layer(outputs, training=False)
        return tf.cast(features, tf.float32), outputs


def _as_layer(
    backbone: keras.Model, size: tuple[int, int], kernel: np.ndarray
) -> tuple[keras.Model, tuple[int, int, int]]:
    """The backbone as a layer of Keras's, and the shape of its photos."""
    shape = getattr(backbone, "input_shape", None)  # A user's object
    if not (isinstance(shape, tuple) and len(shape) == 4):
        raise ValueError(
            "`backbone_model` must be a functional or sequential model of "
            "images [n, height, width, channels]. "
            f"Received: {backbone!r}, of input shape {shape}."
        )
    if any(is_ not in (None, side) for is_, side in zip(shape[1:3], size)):
        raise ValueError(
            f"`size` must be what `backbone_model` takes, {shape[1:3]}. "
            f"Received: size={size}."
        )
    if tuple(backbone.output_shape)[1:] != kernel.shape[:1]:
        raise ValueError(
            "`backbone_model` must give as many features as `kernel` has "
            f"rows, {len(kernel)}. Received: a model of output shape "
            f"{backbone.output_shape}."
        )
    if isinstance(backbone, Model) and not isinstance(backbone, Sequential):
        # Keras writes weights of an inner model under the name of its class.
        backbone = keras.Model(
            backbone.inputs, backbone.outputs[0], name=backbone.name
        )
    return backbone, (*size, shape[3] or 3)


def _checked_names(class_names: Sequence[str], count: int) -> list[str]:
    names = [str(name) for name in class_names]
    if len(names) != count or count < 2 or len(set(names)) < count:
        raise ValueError(
            "`class_names` must be two or more different names, one for each "
            f"of the {count} outputs. Received: class_names={names}."
        )
    return names


def _check(kernel: np.ndarray, bias: np.ndarray, fit: str) -> None:
    """Raises a `ValueError` if a head cannot be made of these."""
    if kernel.ndim != 2 or kernel.shape[1:] != bias.shape:
        raise ValueError(
            "`kernel` must have the shape [features, classes] and `bias` "
            f"[classes]. Received: shapes {list(kernel.shape)} and "
            f"{list(bias.shape)}."
        )
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise ValueError("`kernel` and `bias` must be finite.")
    checks.one_of("fit", fit, ("crop", "stretch", "pad"))
