"""A photo classifier answers in words, is saved whole, and trains on."""

import copy
import io
import json
import pathlib
import pickle
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

import gdtrain
from gdtrain.common.explained import without_more
from gdtrain.images import (
    DamagedImage,
    PhotoClassifier,
    classifier_file,
    load,
    open_backbone,
)
from gdtrain.images.decoding import decode
from gdtrain.images.none_of_these import NoneOfThese
from tests.full_disk import files_up_to

NAMES = [f"digit {digit}" for digit in range(5)]
TEMPERATURE = 1.5


def digits():
    """Photos 12 x 12 of the digits 0 to 4, and what they are."""
    images, labels = load_digits(n_class=5, return_X_y=True)
    images = (images[:400] * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    images = np.pad(np.tile(images, 3), [(0, 0), (2, 2), (2, 2), (0, 0)])
    return images, labels[:400]


IMAGES, LABELS = digits()
FEW = IMAGES[:20]


def layers():
    """A convolutional backbone; its first weights see edges at random."""
    return [
        keras.layers.Rescaling(1 / 127.5, offset=-1),
        keras.layers.Conv2D(32, 5, strides=2),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.AveragePooling2D(2),
        keras.layers.Flatten(),
    ]


def functional(base=keras.Model):
    photo = outputs = keras.Input([12, 12, 3])
    for layer in layers():
        outputs = layer(outputs)
    return base(photo, outputs)


def sequential():
    return gdtrain.Sequential([keras.Input([12, 12, 3]), *layers()])


BACKBONES = {
    "functional": functional,
    "a functional one that descends": lambda: functional(gdtrain.Model),
    "a sequential one that descends": sequential,
}


def make_classifier(backbone=None, with_none=False, **more):
    """A classifier with a head by least squares."""
    backbone = backbone or functional()
    features = backbone.predict(IMAGES, verbose=0).astype(np.float32)
    with_one = np.pad(features, [(0, 0), (0, 1)], constant_values=1)
    *kernel, bias = np.linalg.lstsq(
        with_one, 10 * np.eye(5)[LABELS] - 5, rcond=1e-3
    )[0]
    if with_none:
        more["none_of_these"] = NoneOfThese(features, LABELS)
    return PhotoClassifier.from_parts(
        backbone,
        np.array(kernel),
        bias,
        NAMES,
        size=12,
        temperature=TEMPERATURE,
        **more,
    )


def with_zeros(backbone, **more):
    """A classifier that knows nothing."""
    return PhotoClassifier.from_parts(
        backbone, np.zeros([128, 5]), np.zeros(5), NAMES, size=12, **more
    )


@pytest.fixture(scope="module")
def shared():
    """One for the tests that do not change it."""
    keras.utils.set_random_seed(0)
    return make_classifier(with_none=True)


def predict(model, images=FEW):
    return model.predict(images, verbose=0)


def compile_(model, optimizer=None):
    model.compile(
        optimizer or gdtrain.GradientDescent(0.01, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


def fit(model, **more):
    return model.fit(
        IMAGES[:64], LABELS[:64], shuffle=False, verbose=0, **more
    ).history


def assert_equal(model, other, photos=FEW):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        predict(model, photos), predict(other, photos)
    )


def test_probabilities_are_the_softmax_of_logits_over_the_temperature(shared):
    features = predict(shared.layers[1]).astype(np.float64)
    kernel, bias = shared.get_layer("head").get_weights()
    powers = np.exp((features @ kernel + bias) / TEMPERATURE)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predict(shared), expected, rtol=1e-4, atol=1e-6)
    assert shared.temperature == pytest.approx(TEMPERATURE, rel=1e-12)
    assert (shared.size, shared.class_names) == ((12, 12), NAMES)
    assert isinstance(shared, gdtrain.Model)


def test_it_is_right_about_digits(shared):
    answers = shared.classify(IMAGES)
    right = [a.name == NAMES[y] for a, y in zip(answers, LABELS, strict=True)]
    assert np.mean(right) > 0.97
    features = shared.features(FEW)
    np.testing.assert_allclose(features, predict(shared.layers[1]), rtol=1e-5)
    np.testing.assert_allclose(
        [a.probabilities for a in answers[:20]], predict(shared), rtol=1e-4
    )


@pytest.fixture
def photos(tmp_path):
    """A folder with three photos, one below it, and what is no photo."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for path, image in zip(("a.png", "b.bmp", "more/c"), IMAGES):
        Image.fromarray(image).save(folder / path, "PNG")
    for name in (".hidden.png", "Thumbs.db", "README.txt"):
        (folder / name).write_text("no photo")
    return folder


def test_photos_are_taken_in_all_forms(shared, photos):
    file = photos / "a.png"
    expected = shared.classify(IMAGES[:3])
    for photo in (
        file,
        str(file),
        file.read_bytes(),
        Image.open(file),
        IMAGES[0],
        bytearray(file.read_bytes()),
        io.BytesIO(file.read_bytes()),
        IMAGES[0].astype(np.float64),
        IMAGES[0].astype(np.int64),
        IMAGES[0, ..., 0],
        IMAGES[0, ..., :1],
        Image.fromarray(IMAGES[0]).convert("RGBA"),
        np.array(Image.fromarray(IMAGES[0]).convert("RGBA")),
        tf.constant(IMAGES[0]),
        tf.Variable(IMAGES[0]),
        keras.Variable(IMAGES[0]),
    ):
        (answer,) = shared.classify(photo)
        assert answer.name == "digit 0"
        assert answer.probability == max(answer.probabilities)
        np.testing.assert_allclose(
            answer.probabilities, expected[0].probabilities, rtol=1e-5
        )
    (answer,) = shared.classify(file)
    assert answer.file == str(file)
    for several in (
        photos,
        str(photos),
        [file, IMAGES[1], [photos / "more"]],
        (image for image in IMAGES[:3]),
        IMAGES[:3],
        IMAGES[:3, ..., :1],
        tf.Variable(IMAGES[:3]),
        tf.data.Dataset.from_tensor_slices(IMAGES[:3]).batch(2),
        np.array([str(file), file.parent / "b.bmp", [IMAGES[2]]], object),
        [IMAGES[0], IMAGES[1].repeat(2, 0).repeat(2, 1), IMAGES[2]],
    ):
        names = [a.name for a in shared.classify(several, batch_size=2)]
        assert names == ["digit 0", "digit 1", "digit 2"]
    assert shared.classify([]) == shared.classify(IMAGES[:0]) == []
    assert shared.features([]).shape == (0, 128)


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_photos_of_other_sizes_are_scaled_as_the_classifier_was_made(
    shared, fit
):
    classifier = with_zeros(shared.layers[1], fit=fit)
    tall = np.repeat(IMAGES[0], 4, axis=0)
    scaled = decode(tall, size=(12, 12), fit=fit)
    expected = shared.features(scaled)
    for image in tall, tall.astype(np.float32), Image.fromarray(tall):
        np.testing.assert_array_equal(classifier.features(image), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_photos_may_be_oblong_and_grey(channels, tmp_path):
    backbone = keras.Sequential(
        [keras.Input([4, 9, channels]), keras.layers.Flatten()]
    )
    kernel = np.zeros([36 * channels, 2])
    classifier = PhotoClassifier.from_parts(
        backbone, kernel, [0.0, 0.0], ["a", "b"], size=(4, 9)
    )
    assert classifier.size == (4, 9)
    image = np.arange(36, dtype=np.uint8).reshape(4, 9)
    expected = np.repeat(image.ravel(), channels)[None]
    Image.fromarray(image).save(tmp_path / "grey.png")
    for photo in image, tmp_path / "grey.png":
        np.testing.assert_array_equal(classifier.features(photo), expected)


def test_a_photo_is_described_in_a_line(shared, photos, capsys):
    (answer,) = shared.classify(photos / "a.png")
    text = shared.describe(photos / "a.png")
    assert text == f"digit 0 ({answer.probability:.2f})" == str(answer)
    assert capsys.readouterr().out == text + "\n"
    lines = shared.describe(photos).splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        f"{photos}/{file}: digit {digit}"
        for digit, file in enumerate(("a.png", "b.bmp", "more/c"))
    ]


def test_a_photo_unlike_all_others_is_none_of_these(shared, capsys):
    noise = np.random.default_rng(0).choice(
        np.array([0, 255], np.uint8), [12, 12, 3]
    )
    (answer,) = shared.classify(noise)
    assert answer.is_none
    assert shared.describe(noise) == f"none of these (nearest: {answer.name})"
    known = [a.is_none for a in shared.classify(IMAGES)]
    assert np.mean(known) < 0.05
    (answer,) = with_zeros(shared.layers[1]).classify(noise)
    assert not answer.is_none


def test_photos_that_cannot_be_read_are_all_named(shared, photos):
    (photos / "d.jpg").write_text("text")
    with pytest.raises(DamagedImage, match=r"d\.jpg: it is neither JPEG"):
        shared.describe(photos)
    (photos / "e.png").write_bytes(b"")
    both = (
        r"2 of 5 photos cannot be read: \S+/d\.jpg \(it is neither .*"
        r"\S+/e\.png \(it is empty\)"
    )
    with pytest.raises(ValueError, match=both) as caught:
        shared.classify(photos, batch_size=1)
    assert "on_error='skip'" in str(caught.value)
    with pytest.warns(UserWarning, match=both):
        answers = shared.classify(photos, on_error="skip")
    assert [pathlib.Path(a.file).name for a in answers] == [
        "a.png",
        "b.bmp",
        "c",
    ]


@pytest.mark.parametrize(
    "photo, error, message",
    [
        ("no such file.jpg", DamagedImage, "No such file"),
        (b"text", DamagedImage, "neither JPEG"),
        ("", DamagedImage, "No such file"),
        ("https://example.com/cat.jpg", DamagedImage, "to be downloaded first"),
        (7, TypeError, "must be paths, bytes.* of type int"),
        (None, TypeError, "of type NoneType"),
        ({"photo": IMAGES[0]}, TypeError, "of type dict"),
        (IMAGES[0].tolist(), TypeError, "of type int"),
        (IMAGES[0] > 0, ValueError, "of numbers from 0 to 255.* dtype bool"),
        (IMAGES[0] * 1j, ValueError, "dtype complex"),
        (IMAGES[0] * np.nan, ValueError, "from nan to nan."),
        (3 * IMAGES[0].astype(int), ValueError, "from 0 to 717."),
        (np.array(7), ValueError, r"shape \[\], dtype int64"),
        (IMAGES[0, :0], ValueError, r"shape \[0, 12, 3\]"),
        (IMAGES[:3, ..., 0], DamagedImage, r"uint8 \[3, 12, 12\]"),
        (IMAGES[0] / 255, ValueError, "from 0 to 0.937. Multiply by 255"),
        (IMAGES[0] - 1.0, ValueError, "from -1 to 238"),
        (np.zeros([4, 4, 7], np.uint8), DamagedImage, "an array must be"),
    ],
)
def test_what_is_no_photo_is_refused(shared, photo, error, message):
    with pytest.raises(error, match=message) as raised:
        shared.describe(photo)
    assert "\n" not in without_more(str(raised.value))[0]


def test_a_folder_without_photos_is_an_error(shared, tmp_path):
    (tmp_path / ".hidden.png").touch()
    with pytest.raises(ValueError, match="has no pictures"):
        shared.classify(tmp_path)
    with pytest.raises(ValueError, match="`on_error` must be"):
        shared.classify(FEW, on_error="ignore")


def test_saved_classifier_goes_on_bit_equal_where_it_was(tmp_path):
    model = make_classifier(with_none=True, fit="crop")
    compile_(model, "adam")
    fit(model)
    path = tmp_path / "model.keras"
    model.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    loaded = load(path)
    assert isinstance(loaded, PhotoClassifier)
    assert_equal(model, loaded)
    assert loaded.class_names == NAMES
    assert loaded.size == (12, 12)
    assert loaded.temperature == model.temperature
    for a, b in zip(model.classify(IMAGES[:50]), loaded.classify(IMAGES[:50])):
        assert str(a) == str(b)
    noise = np.random.default_rng(0).integers(0, 256, [9, 9, 3], np.uint8)
    assert loaded.classify(noise)[0].is_none == model.classify(noise)[0].is_none
    assert fit(model) == fit(loaded)
    assert_equal(model, loaded)


def test_any_keras_loads_it_without_gdtrain(tmp_path):
    expected = []
    for i, make in enumerate(BACKBONES.values()):
        model = compile_(make_classifier(make()), ["adam", None, None][i])
        if i == 0:
            fit(model)  # For the state of Adam
        model.save(tmp_path / f"{i}.keras")
        expected.append(predict(model))
        # In a process that has gdtrain, it is one of gdtrain's.
        again = keras.saving.load_model(tmp_path / f"{i}.keras")
        assert isinstance(again, PhotoClassifier)
        assert again.class_names == NAMES
        assert_equal(model, again)
    np.savez(tmp_path / "x.npz", photos=FEW, expected=expected)
    script = """if True:
        import sys
        import keras
        import numpy as np
        data = np.load("x.npz")
        for i, expected in enumerate(data["expected"]):
            model = keras.saving.load_model(f"{i}.keras")
            result = model.predict(data["photos"], verbose=0)
            np.testing.assert_array_equal(result, expected)
            assert model.compiled == (i == 0), model.compiled
        assert "gdtrain" not in sys.modules
        print("all equal")
    """
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.stdout.endswith("all equal\n"), result.stderr


def test_copies_and_checkpoints_are_as_of_any_model(tmp_path):
    model = compile_(make_classifier(with_none=True))
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    fit(model, epochs=2, callbacks=[checkpoint])
    loaded = load(tmp_path / "2.keras")
    for other in (
        loaded,
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert_equal(model, other)
        assert other.classify(FEW)[3].name == model.classify(FEW)[3].name
    clone = keras.models.clone_model(model)
    assert isinstance(clone, PhotoClassifier)
    with pytest.raises(AttributeError, match=r"Set `model.class_names = \["):
        clone.classify(FEW)
    clone.class_names = model.class_names
    fit(clone)
    model.save_weights(tmp_path / "a.weights.h5")
    clone.load_weights(tmp_path / "a.weights.h5")
    assert_equal(model, clone)
    clone.none_of_these = model.none_of_these
    assert str(clone.classify(FEW)[0]) == str(model.classify(FEW)[0])
    with pytest.raises(ValueError, match="of the 5 outputs"):
        clone.class_names = ["one"]
    assert fit(model) == fit(loaded)  # By gdtrain's optimizer
    assert_equal(model, loaded)


def test_from_config_has_all_but_weights_and_names(shared):
    other = PhotoClassifier.from_config(shared.get_config())
    other.set_weights(shared.get_weights())
    assert_equal(shared, other)
    assert other.temperature == shared.temperature
    shared.summary(print_fn=lambda line: None)


def test_photos_come_from_datasets_and_generators():
    model = compile_(make_classifier())
    pairs = tf.data.Dataset.from_tensor_slices((FEW, LABELS[:20])).batch(5)
    expected = predict(model)
    for x in pairs, pairs.map(lambda photos, labels: photos):
        np.testing.assert_allclose(predict(model, x), expected, rtol=1e-5)
    batches = ((photos,) for photos in FEW.reshape(4, 5, 12, 12, 3))
    np.testing.assert_allclose(predict(model, batches), expected, rtol=1e-5)
    measured = model.evaluate(FEW, LABELS[:20], verbose=0)
    assert measured == pytest.approx(model.evaluate(pairs, verbose=0))
    loss, accuracy = measured
    rows = predict(model)[np.arange(20), LABELS[:20]]
    assert loss == pytest.approx(-np.log(rows).mean(), rel=1e-3)
    assert accuracy == 1


def test_half_precision_eager_steps_and_files(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make_classifier(with_none=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.layers[1].compute_dtype == "float16"
    assert predict(model).dtype == np.float32
    assert model.features(FEW).dtype == np.float32
    names = [answer.name for answer in model.classify(IMAGES[:50])]
    assert names == [NAMES[label] for label in LABELS[:50]]
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    assert np.isfinite(fit(model)["loss"][0])
    model.save(tmp_path / "model.keras")
    assert_equal(model, load(tmp_path / "model.keras"))


@pytest.mark.long
def test_two_replicas_train_save_and_answer(two_replicas, tmp_path):
    with two_replicas.scope():
        model = compile_(make_classifier(with_none=True))
    assert [a.name for a in model.classify(FEW[:5])] == NAMES
    fit(model)
    model.save(tmp_path / "model.keras")
    other = load(tmp_path / "model.keras")
    assert_equal(model, other)
    for a, b in zip(model.classify(FEW), other.classify(FEW), strict=True):
        assert a.name == b.name and a.is_none == b.is_none


def test_several_threads_may_ask_at_once(shared):
    model = copy.deepcopy(shared)  # No program is compiled yet.
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(model.classify, IMAGES[:16]))
    for (answer,), expected in zip(found, shared.classify(IMAGES[:16])):
        assert str(answer) == str(expected)


def test_an_error_while_saving_leaves_the_older_file(
    shared, tmp_path, monkeypatch
):
    path = tmp_path / "model.keras"
    shared.save(path)
    content = path.read_bytes()

    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(classifier_file, "make_readable_without_gdtrain", fail)
    with pytest.raises(OSError, match="No space"):
        shared.save(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal
from gdtrain.images import classifier_file, load
model = load("model.keras")
def kill(path):
    os.kill(os.getpid(), signal.SIGKILL)
classifier_file.make_readable_without_gdtrain = kill
model.save("model.keras")
"""


@pytest.mark.long  # tests/common has the same of `written_aside` alone.
def test_a_kill_while_saving_leaves_the_older_file(shared, tmp_path):
    path = tmp_path / "model.keras"
    shared.save(path)
    content = path.read_bytes()
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert path.read_bytes() == content
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.name.startswith(".model.keras.") and list(left.iterdir())
    shared.save(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_and_leaves_the_older_files(shared, tmp_path):
    path = tmp_path / "model.keras"
    shared.save(path)
    content = path.read_bytes()
    for save, name in [
        (shared.save, "model.keras"),
        (shared.export_saved_model, "saved"),
        (shared.export_tflite, "model.tflite"),
    ]:
        with files_up_to(9_000), pytest.raises(OSError) as raised:
            save(tmp_path / name)
        said = str(raised.value)
        assert "too large" in said and str(tmp_path / name) in said
        assert "\n" not in said
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(shared, tmp_path):
    with pytest.raises(ValueError, match="must end in .keras.*model.h5"):
        shared.save(tmp_path / "model.h5")
    with pytest.raises(ValueError, match="must end in .tflite.*model.tf"):
        shared.export_tflite(tmp_path / "model.tf")
    with pytest.raises(FileNotFoundError, match="none"):
        shared.save(tmp_path / "none" / "model.keras")
    (tmp_path / "model.keras").touch()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        shared.save(tmp_path / "model.keras", overwrite=False)
    with pytest.raises(FileExistsError, match="not a SavedModel"):
        shared.export_saved_model(tmp_path)


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("none.keras", None, "No such file"),
        ("empty.keras", b"", "it is damaged, or no file of Keras's"),
        ("text.keras", b"text", "it is damaged, or no file of Keras's"),
        ("half.keras", 0.5, "it is damaged, or no file of Keras's"),
        ("bits.keras", "flipped", ""),
        ("other.keras", "another", "another model, without the names of"),
        ("model.h5", b"", "its name does not end in .keras"),
        (".", None, "its name does not end in .keras"),
    ],
)
def test_a_file_that_is_no_classifier_is_refused(
    shared, tmp_path, name, content, reason
):
    path = tmp_path / name
    if content == "another":
        functional().save(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        shared.save(path)
        whole = bytearray(path.read_bytes())
        if content == "flipped":
            whole[len(whole) // 2] ^= 255
            path.write_bytes(whole)
        else:
            path.write_bytes(whole[: int(len(whole) * content)])
    with pytest.raises(ValueError, match="cannot load .* as a photo") as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in without_more(str(caught.value))[0]


def assert_exports_agree(model, photos, folder):
    """SavedModel and TFLite say what the model says."""
    photos = photos.astype(np.float32)
    saved = tf.saved_model.load(folder / "saved")
    expected = predict(model, photos)
    np.testing.assert_allclose(saved.serve(photos), expected, rtol=1e-5)
    for some in photos[:1], photos[:5]:
        np.testing.assert_allclose(
            saved.serve(some), expected[: len(some)], rtol=1e-5
        )
        interpreter = tf.lite.Interpreter(str(folder / "model.tflite"))
        (source,) = interpreter.get_input_details()
        interpreter.resize_tensor_input(source["index"], some.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], some)
        interpreter.invoke()
        (target,) = interpreter.get_output_details()
        np.testing.assert_allclose(
            interpreter.get_tensor(target["index"]),
            expected[: len(some)],
            rtol=1e-4,
            atol=1e-6,
        )
    with zipfile.ZipFile(folder / "model.tflite") as archive:
        facts = json.loads(archive.read("classifier.json"))
    extra = folder / "saved" / "assets.extra" / "classifier.json"
    assert json.loads(extra.read_text()) == facts
    assert facts["class_names"] == model.class_names
    assert facts["temperature"] == model.temperature
    assert facts["size"] == list(model.size)


def test_exports_agree_with_the_model(shared, tmp_path):
    shared.classify(FEW)
    for _ in range(2):  # The second replaces the first.
        shared.export_saved_model(tmp_path / "saved")
        shared.export_tflite(tmp_path / "model.tflite")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["model.tflite", "saved"]
    assert_exports_agree(shared, FEW, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny"]
)
@pytest.mark.filterwarnings("ignore:.*has random weights")
def test_files_of_usual_backbones_agree_with_the_model(name, tmp_path):
    backbone = open_backbone(name, size=32, weights=None).model
    photos = np.random.default_rng(0).integers(0, 256, [5, 32, 32, 3], np.uint8)
    features = predict(backbone, photos)
    kernel = np.random.default_rng(1).normal(size=[features.shape[1], 5])
    kernel /= np.linalg.norm(features, axis=1).mean()
    model = PhotoClassifier.from_parts(
        backbone, kernel, np.zeros(5), NAMES, size=32
    )
    model.save(tmp_path / "model.keras")
    assert_equal(model, load(tmp_path / "model.keras"), photos)
    model.export_saved_model(tmp_path / "saved")
    model.export_tflite(tmp_path / "model.tflite")
    assert_exports_agree(model, photos, tmp_path)


def moved(model, **more):
    """Which layers changed in a fit: weights of backbone and head."""
    inner = model.layers[1]
    before = [w.copy() for w in inner.get_weights()]
    head = model.get_layer("head").get_weights()[0].copy()
    fit(model, **more)
    return (
        any((a != b).any() for a, b in zip(before, inner.get_weights())),
        (head != model.get_layer("head").get_weights()[0]).any(),
    )


def test_trainable_that_changes_between_fits_takes_effect():
    model = compile_(make_classifier())
    backbone = model.layers[1]
    assert moved(model) == (True, True)
    backbone.trainable = False
    telemetry = gdtrain.callbacks.Telemetry()
    # Batch normalization then keeps its statistics, too.
    for more in {}, {"batch_size": 16}, {"callbacks": [telemetry]}:
        assert moved(model, **more) == (False, True)
    backbone.trainable = True
    assert moved(model) == (True, True)


def test_what_becomes_trainable_is_compiled_first():
    backbone = functional()
    backbone.trainable = False
    model = compile_(make_classifier(backbone))
    assert moved(model) == (False, True)
    backbone.trainable = True
    with pytest.raises(ValueError, match="Call `model.compile"):
        fit(model)
    compile_(model)
    assert moved(model) == (True, True)


def test_a_classifier_learns_digits_from_a_head_of_zeros():
    model = with_zeros(functional())
    compile_(model, keras.optimizers.Adam(0.003))
    history = model.fit(IMAGES, LABELS, batch_size=32, epochs=8, verbose=0)
    assert history.history["accuracy"][-1] > 0.97
    assert model.evaluate(IMAGES, LABELS, verbose=0)[1] > 0.9


PARTS = {"kernel": np.zeros([128, 5]), "bias": np.zeros(5)}


@pytest.mark.parametrize(
    "more, message",
    [
        ({"class_names": ["one"]}, "one for each of the 5 outputs"),
        ({"class_names": ["a", "a", "b", "c", "d"]}, "different names"),
        ({"kernel": np.zeros([128, 4])}, "`kernel` must have the shape"),
        ({"kernel": np.full([128, 5], np.nan)}, "must be finite"),
        ({"kernel": np.zeros([3, 5])}, "as many features as `kernel`"),
        ({"size": 13}, r"`size` must be what .* \(12, 12\)"),
        ({"size": 0}, "`size`"),
        ({"fit": "squeeze"}, "`fit` must be one of"),
        ({"temperature": 0.0}, "`temperature` must be"),
        (
            {"backbone_model": keras.Sequential([keras.layers.Flatten()])},
            "must be a functional or sequential model of images",
        ),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(more, message):
    parts = {"backbone_model": functional(), **PARTS, "class_names": NAMES}
    with pytest.raises(ValueError, match=message):
        PhotoClassifier.from_parts(**{**parts, "size": 12, **more})


def test_bytes_of_a_photo_need_no_file(shared):
    file = io.BytesIO()
    Image.fromarray(IMAGES[4]).save(file, "PNG")
    assert shared.classify([file.getvalue()])[0].file == ""
