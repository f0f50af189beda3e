"""`fine_tune`: its phases, cache, resume, and the choice between two."""

import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.data import choice
from gdtrain.images import activations, decode, load, parallel, store
from gdtrain.images.activations import VIEWS, Activations
from gdtrain.images.backbones import open_backbone
from gdtrain.images.fine_tune import fine_tune
from gdtrain.images.phases import Candidate
from gdtrain.images.photos import LabelledImages, PhotoFile
from gdtrain.images.reporting import Report
from gdtrain.images.top import Top
from gdtrain.writers import reading
from tests.images import plain_keras

EPOCHS = 30
# The package has a function of that name.
MODULE = sys.modules["gdtrain.images.fine_tune"]


class Stop(Exception):
    """Ends a run from within."""


class StopAtEpoch(keras.callbacks.Callback):
    """Raises `Stop` as an epoch begins."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Stop


def accuracy(model, part):
    """The share of photos for which a classifier is right."""
    answers = model.predict(part.images, verbose=0).argmax(axis=1)
    return np.mean(answers == part.labels)


def assert_equal_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(backbone_of_digits, other_digits, cache_dir):
    """Fine-tunes; mirrored digits are none, so without changes at random."""

    def run(**arguments):
        given = {
            "epochs": EPOCHS,
            "cache_dir": cache_dir,
            "augmentation": 0,
            "verbose": 0,
        }
        return fine_tune(
            other_digits, backbone_of_digits, **{**given, **arguments}
        )

    return run


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def tuned(run, log_dir):
    return run(log_dir=log_dir)


@pytest.fixture(scope="module")
def frozen(run):
    return run(unfreeze=False)


def layers_of(model):
    """Its layers with weights, by name."""
    backbone = model.layers[1]
    return {layer.name: layer for layer in backbone.layers if layer.weights}


def test_other_photos_are_made_to_fit_as_those_learned(
    backbone_of_digits, other_digits, cache_dir
):
    model = fine_tune(
        replace(other_digits, fit="pad"),
        backbone_of_digits,
        unfreeze=False,
        cache_dir=cache_dir,
        verbose=0,
    )
    *size, channels = other_digits.shape
    wide = np.zeros([20, 60, channels], np.uint8)
    wide[:, 20:40] = 200
    padded, stretched = (
        decode(wide, size=tuple(size), channels=channels, fit=fit)
        for fit in ("pad", "stretch")
    )
    answers = model.classify([wide, padded, stretched])
    given, same, other = (answer.probabilities for answer in answers)
    np.testing.assert_array_equal(given, same)
    assert not np.array_equal(given, other)


class TestPhases:
    def test_a_trained_top_is_kept_if_cross_validation_agrees(
        self, tuned, frozen, other_digits
    ):
        found = tuned.fine_tuning
        assert found.is_kept
        assert found.tuned_accuracy >= found.frozen_accuracy
        held_out = other_digits.held_out
        assert accuracy(tuned, held_out) > accuracy(frozen, held_out)

    def test_only_the_blocks_at_the_top_are_trained(
        self, tuned, backbone_of_digits
    ):
        before = open_backbone(backbone_of_digits, size=16).model
        changed = [
            name
            for name, layer in layers_of(tuned).items()
            if any(
                np.any(a != b)
                for a, b in zip(
                    layer.get_weights(), before.get_layer(name).get_weights()
                )
            )
        ]
        assert changed == tuned.fine_tuning.trained
        assert changed == ["block3_conv", "block4_conv"]

    def test_without_unfreezing_the_backbone_stays(
        self, frozen, backbone_of_digits
    ):
        before = open_backbone(backbone_of_digits, size=16).model
        assert_equal_weights(frozen.layers[1], before)
        assert frozen.fine_tuning.tuned_accuracy is None
        assert not frozen.fine_tuning.is_kept

    def test_one_history_has_the_epochs_of_all_phases(self, tuned):
        heads = tuned.fine_tuning.head_epochs
        history = tuned.history
        assert history.epoch == list(range(heads + EPOCHS))
        assert np.isfinite(history.history["loss"]).all()
        accuracies = np.array(history.history["accuracy"])
        assert np.isnan(accuracies[:heads]).all()
        assert np.isfinite(accuracies[heads:]).all()

    def test_one_tensorboard_run_has_the_steps_of_all_phases(
        self, tuned, log_dir
    ):
        steps, losses = reading.scalars(log_dir)["step/loss"]
        of_an_epoch = -(-100 // 32)
        heads = tuned.fine_tuning.head_epochs
        last = heads + EPOCHS * of_an_epoch
        np.testing.assert_array_equal(steps, np.arange(1, 1 + last))
        assert np.isfinite(losses).all()
        epochs, losses = reading.scalars(log_dir)["epoch_loss"]
        np.testing.assert_array_equal(epochs, np.arange(heads + EPOCHS))
        np.testing.assert_array_equal(
            losses, np.float32(tuned.history.history["loss"])
        )

    def test_logits_of_photos_are_cross_validated_and_calibrated(
        self, tuned, other_digits
    ):
        logits = tuned.fine_tuning.cross_validated
        labels = other_digits.training.labels
        assert logits.shape == (100, 5)
        right = np.mean(logits.argmax(axis=1) == labels)
        assert right == tuned.fine_tuning.tuned_accuracy
        learned = tuned.predict(other_digits.training.images, verbose=0)
        assert np.mean(learned.argmax(axis=1) == labels) > right

    def test_rates_fall_with_depth(self, run):
        seen = {}

        class Rates(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                optimizer = self.model.optimizer
                seen.update(getattr(optimizer, "factors", {}))

        run(epochs=1, callbacks=[Rates()])
        factors = {path.split("/")[-2]: f for path, f in seen.items()}
        assert 1 > factors["block4_conv"] > factors["block3_conv"] > 0

    def test_the_random_state_of_the_user_stays(self, run):
        keras.utils.set_random_seed(3)
        expected = np.random.random()
        keras.utils.set_random_seed(3)
        run(unfreeze=False)
        assert np.random.random() == expected


class TestChoice:
    def test_a_top_that_is_worse_is_not_kept(self, run, frozen, monkeypatch):
        fit = Top.fit

        def spoiled(self, x, y, *args, **kwargs):
            return fit(self, x, np.roll(y, 1), *args, **kwargs)

        monkeypatch.setattr(Top, "fit", spoiled)
        model = run()
        found = model.fine_tuning
        assert found.tuned_accuracy < found.frozen_accuracy
        assert not found.is_kept
        assert_equal_weights(model, frozen)
        assert model.temperature == frozen.temperature
        assert not model.layers[1].trainable_weights

    def test_better_is_less_loss_and_no_less_accuracy(self):
        labels = np.array([0, 1] * 10)
        right = np.eye(2)[labels]

        def candidate(share):
            logits = right.copy()
            wrong = np.arange(20) >= 20 * share
            logits[wrong] = 1 - logits[wrong]
            return Candidate(np.eye(2), np.zeros(2), logits)

        assert candidate(0.9).is_better_than(candidate(0.8), labels)
        assert not candidate(0.8).is_better_than(candidate(0.9), labels)
        assert not candidate(0.9).is_better_than(candidate(0.9), labels)


class TestBatchNormalization:
    def test_it_stays_by_default(self, tuned, backbone_of_digits):
        before = open_backbone(backbone_of_digits, size=16).model
        for number in range(1, 5):
            name = f"block{number}_bn"
            assert_equal_weights(layers_of(tuned)[name], before.get_layer(name))

    def test_it_is_trained_if_asked_for(self, run, backbone_of_digits):
        before = open_backbone(backbone_of_digits, size=16).model
        trained = []

        class Look(keras.callbacks.Callback):
            def on_train_end(self, logs=None):
                layers = self.model.layers
                trained.append({one.name: one.get_weights() for one in layers})

        run(batch_normalization="train", epochs=2, callbacks=[Look()])
        for a, b in zip(
            trained[-1]["block4_bn"],
            before.get_layer("block4_bn").get_weights(),
            strict=True,
        ):
            assert np.all(a != b)


def first(photos, count):
    """The same photos, of which only the first are learned."""
    training = photos.training
    fewer = LabelledImages(training.images[:count], training.labels[:count])
    return replace(photos, training=fewer)


@pytest.fixture
def computed(monkeypatch):
    """How many photos go through a backbone or a part of it, each time."""
    counts = []
    batched = activations.batched

    def counting(model):
        run = batched(model)

        def counted(inputs, *args):
            if inputs.shape[1:] == (16, 16, 3):
                counts.append(len(inputs))
            return run(inputs, *args)

        return counted

    monkeypatch.setattr(activations, "batched", counting)
    return counts


class TestCache:
    def test_activations_are_computed_once(self, tuned, run, computed):
        again = run(epochs=1)
        assert not computed
        assert again.fine_tuning.frozen_accuracy == (
            tuned.fine_tuning.frozen_accuracy
        )

    def test_of_an_added_photo_they_alone_are_computed(
        self, other_digits, backbone_of_digits, tmp_path, computed
    ):
        def run(count, folder):
            return fine_tune(
                first(other_digits, count),
                backbone_of_digits,
                unfreeze=1,
                epochs=1,
                cache_dir=tmp_path / folder,
                verbose=0,
            )

        run(40, "cache")
        assert sum(computed) == 40 + VIEWS * 40
        computed.clear()
        added = run(41, "cache")
        assert computed == [1] * (1 + VIEWS)
        assert len(added.fine_tuning.cross_validated) == 41
        at_once = run(41, "other")
        assert_equal_weights(added, at_once)
        np.testing.assert_array_equal(
            added.fine_tuning.cross_validated,
            at_once.fine_tuning.cross_validated,
        )

    def test_they_are_those_of_the_cut_and_of_how_photos_fit(
        self, other_digits, backbone_of_digits, tmp_path
    ):
        model = open_backbone(backbone_of_digits, size=16).model
        files = [PhotoFile("", "", "training", d, "read") for d in "abcdef"]
        photos = first(other_digits, 6)
        photos = replace(photos, training=replace(photos.training, files=files))
        keys = set()
        for part in (model, keras.Model(model.input, model.layers[-3].output)):
            for fit in ("stretch", "pad"):
                of_them = replace(photos, fit=fit)
                keys.add(Activations(part, of_them).key)
        assert len(keys) == 4

    def test_photos_change_by_content_not_by_position(
        self, other_digits, backbone_of_digits, tmp_path
    ):
        model = open_backbone(backbone_of_digits, size=16).model

        def changed(images, seed):
            labelled = LabelledImages(images, np.zeros(len(images), int))
            photos = replace(other_digits, training=labelled)
            found = Activations(
                model, photos, seed=seed, cache_dir=tmp_path / f"{len(images)}"
            )
            return found.changed(1.0, 2)

        images = other_digits.training.images[:50]
        found = changed(images, 0)
        assert found.shape[:2] == (50, 2)
        assert np.all(np.any(found[:, 0] != found[:, 1], axis=1))
        np.testing.assert_array_equal(
            changed(images[49:9:-1], 0), found[49:9:-1]
        )
        assert np.all(np.any(changed(images, 1) != found, axis=(1, 2)))


class TestReport:
    def test_it_is_written_to_the_log_folder(
        self, tuned, log_dir, other_digits
    ):
        found = tuned.fine_tuning.report
        assert found.accuracy == accuracy(tuned, other_digits.held_out)
        assert str(found.right) in (log_dir / "report.html").read_text()
        scalars = reading.scalars(log_dir)
        steps, values = scalars["report/accuracy"]
        assert steps.tolist() == [0]
        assert values[0] == pytest.approx(found.accuracy)

    def test_again_it_takes_the_place_of_the_one_before(
        self, run, tmp_path, capsys
    ):
        arguments = {
            "unfreeze": False,
            "log_dir": tmp_path / "logs",
            "backup_dir": tmp_path / "backup",
        }
        for _ in range(2):
            run(**arguments)
            scalars = reading.scalars(tmp_path / "logs")
            assert len(scalars["report/accuracy"][0]) == 1
            assert len(scalars["step/loss"][0]) > 10

    def test_without_held_out_photos_there_is_none(
        self, run, other_digits, backbone_of_digits, tmp_path, capsys
    ):
        held_out = LabelledImages(
            other_digits.held_out.images[:0], np.zeros(0, int)
        )
        model = fine_tune(
            first(replace(other_digits, held_out=held_out), 60),
            backbone_of_digits,
            unfreeze=False,
            log_dir=tmp_path,
        )
        assert model.fine_tuning.report is None
        assert "no photos are held out" in capsys.readouterr().out
        assert not (tmp_path / "report.html").exists()

    @pytest.mark.mostly_long("save_for_tensorboard-TensorBoard gets no report")
    @pytest.mark.parametrize(
        ("part", "words"),
        [
            ("save_html", "page of the report is not written"),
            ("save_for_tensorboard", "TensorBoard gets no report"),
            ("__init__", "There is no report"),
        ],
    )
    def test_what_fails_in_it_is_said_and_the_model_returned(
        self, run, tmp_path, monkeypatch, part, words
    ):
        def fail(*args, **kwargs):
            raise OSError("no room")

        monkeypatch.setattr(Report, part, fail)
        with pytest.warns(UserWarning, match=words):
            model = run(unfreeze=False, log_dir=tmp_path)
        assert model.class_names == list("56789")


def stops_in(place, heads, patch):
    """Has a run raise `Stop` at a place; returns callbacks for it."""

    def stop(*args, **kwargs):
        raise Stop

    fit = Top.fit

    def fit_or_stop(self, *args, repetition, **kwargs):
        if place == f"fold {repetition}":
            kwargs["callbacks"] = [*kwargs["callbacks"], StopAtEpoch(heads + 2)]
        return fit(self, *args, repetition=repetition, **kwargs)

    def stop_after_half(self, done):
        if 2 * done >= self._total:
            raise Stop

    patch.setattr(Top, "fit", fit_or_stop)
    if place == "features":
        patch.setattr(parallel.Progress, "update", stop_after_half)
    elif place == "calibration":
        patch.setattr(MODULE, "NoneOfThese", stop)
    elif place == "report":
        patch.setattr(MODULE, "_report", stop)
    epochs = {"head": 5, "top": heads + 3}
    return [StopAtEpoch(epochs[place])] if place in epochs else []


# As a process of its own; its folder has model.keras at the end.
KILLED = """
import os, signal, sys
import keras
from gdtrain.images import classifier_file, fine_tune, reporting
from tests.images.conftest import other_digits_of
from tests.images.test_fine_tune import Stop, stops_in

class Patch:
    setattr = staticmethod(setattr)

place, heads, epochs, backbone, folder = sys.argv[1:]

def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

if place == "page":
    reporting.Report.save_html = kill
elif place == "pictures":
    reporting.Report.write = kill
elif place == "save":
    classifier_file.make_readable_without_gdtrain = kill
try:
    model = fine_tune(
        other_digits_of(), backbone, epochs=int(epochs), augmentation=0,
        backup_dir=folder + "/backup", cache_dir=folder + "/cache",
        log_dir=folder + "/logs",
        callbacks=stops_in(place, int(heads), Patch()),
    )
except Stop:
    kill()
model.save(folder + "/model.keras")
"""


class TestResume:
    def test_a_run_that_stops_in_each_phase_ends_with_the_same_bits(
        self, tuned, run, tmp_path, monkeypatch
    ):
        arguments = {
            "log_dir": tmp_path / "logs",
            "backup_dir": tmp_path / "backup",
            "cache_dir": tmp_path / "cache",
        }
        heads = tuned.fine_tuning.head_epochs
        for place in (
            "features",
            "head",
            "top",
            "fold 3",
            "calibration",
            "report",
        ):
            with monkeypatch.context() as patch, pytest.raises(Stop):
                run(**arguments, callbacks=stops_in(place, heads, patch))
        resumed = run(**arguments)
        assert_equal_weights(resumed, tuned)
        assert resumed.temperature == tuned.temperature
        np.testing.assert_array_equal(
            resumed.fine_tuning.cross_validated,
            tuned.fine_tuning.cross_validated,
        )
        assert resumed.history.epoch == tuned.history.epoch
        for name, values in tuned.history.history.items():
            np.testing.assert_array_equal(resumed.history.history[name], values)
        steps, _ = reading.scalars(arguments["log_dir"])["step/loss"]
        np.testing.assert_array_equal(steps, np.arange(1, 1 + len(steps)))

    def test_a_finished_run_trains_nothing(self, run, tmp_path, monkeypatch):
        first = run(backup_dir=tmp_path, epochs=2)

        def fail(*args, **kwargs):
            raise AssertionError("trains again")

        monkeypatch.setattr(gdtrain.Model, "fit", fail)
        second = run(backup_dir=tmp_path, epochs=2)
        assert_equal_weights(first, second)
        assert first.history.history.keys() == second.history.history.keys()

    @pytest.mark.long
    def test_killed_in_each_phase(self, tuned, backbone_of_digits, tmp_path):
        heads = tuned.fine_tuning.head_epochs
        arguments = map(str, (heads, EPOCHS, backbone_of_digits, tmp_path))
        arguments = list(arguments)
        for place in (
            "features",
            "head",
            "top",
            "fold 2",
            "fold 5",
            "calibration",
            "report",
            "page",
            "pictures",
            "save",
            "none",
        ):
            done = subprocess.run(
                [sys.executable, "-c", KILLED, place, *arguments],
                env={**os.environ, "PYTHONPATH": os.getcwd()},
            )
            killed = place != "none"
            assert done.returncode == (-signal.SIGKILL if killed else 0), place
            assert (tmp_path / "model.keras").exists() != killed
        model = load(tmp_path / "model.keras")
        assert_equal_weights(model, tuned)
        assert model.temperature == tuned.temperature
        scalars = reading.scalars(tmp_path / "logs")
        steps, _ = scalars["step/loss"]
        np.testing.assert_array_equal(steps, np.arange(1, 1 + len(steps)))
        assert len(scalars["report/accuracy"][0]) == 1


class TestLargePhotos:
    def test_a_memory_map_is_trained_on_with_the_same_bits(
        self, tuned, run, monkeypatch
    ):
        monkeypatch.setattr(store, "_fits_in_memory", lambda size: False)
        # Between what the head and what the top learns from
        monkeypatch.setattr(choice, "memory_limit", lambda: 100_000)
        seen = []
        fit = Top.fit

        def look(self, x, *args, **kwargs):
            seen.append(type(x))
            return fit(self, x, *args, **kwargs)

        monkeypatch.setattr(Top, "fit", look)
        assert_equal_weights(run(), tuned)
        assert set(seen) == {np.memmap}

    def test_without_room_for_them_the_head_alone_is_trained(
        self, frozen, run, tmp_path, monkeypatch
    ):
        limit = 100_000  # Between features and activations
        monkeypatch.setattr(store, "_fits_in_memory", lambda size: size < limit)
        usage = SimpleNamespace(free=limit)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.warns(UserWarning) as caught:
            model = run(cache_dir=tmp_path)
        (text,) = [str(warning.message) for warning in caught]
        assert "top of the backbone is not trained: there is no room" in text
        assert "The activations are too large" in text
        assert "No space left" in text
        assert_equal_weights(model, frozen)
        assert model.fine_tuning.tuned_accuracy is None


class TestProgress:
    @pytest.mark.parametrize(
        ("shows", "seconds", "is_shown"),
        [(True, -1, True), (True, math.inf, False), (False, -1, False)],
    )
    def test_a_bar_shows_if_it_takes_long(
        self, other_digits, backbone_of_digits, tmp_path, monkeypatch, capsys,
        shows, seconds, is_shown,
    ):  # fmt: skip
        monkeypatch.setattr(parallel, "SILENT_SECONDS", seconds)
        below = Activations(
            open_backbone(backbone_of_digits, size=16).model,
            other_digits,
            cache_dir=tmp_path,
            verbose=shows,
        )
        below.plain()
        shown = capsys.readouterr().out
        assert ("100/100" in shown and "/photo" in shown) == is_shown


class TestModel:
    @pytest.mark.long
    def test_plain_keras_loads_it_without_gdtrain(
        self, tuned, other_digits, tmp_path
    ):
        photos = other_digits.held_out.images[:64]
        plain_keras.assert_predicts_the_same(tuned, photos, tmp_path)

    def test_a_policy_of_half_precision_leaves_a_backbone_as_it_is(
        self, run, monkeypatch
    ):
        tops = []
        fit = Top.fit

        def watched(self, *args, **kwargs):
            epochs = fit(self, *args, **kwargs)
            tops.append((self.model.get_weights(), epochs["loss"]))
            return epochs

        monkeypatch.setattr(Top, "fit", watched)
        run(epochs=2)
        whole, tops = tops, []
        keras.config.set_dtype_policy("mixed_float16")
        try:
            run(epochs=2)
        finally:
            keras.config.set_dtype_policy("float32")
        assert len(tops) == len(whole) > 1  # Also of each fold
        for (weights, loss), (expected, expected_loss) in zip(tops, whole):
            assert loss == pytest.approx(expected_loss, rel=1e-5)
            for got, wanted in zip(weights, expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)

    def test_what_is_trainable_is_what_a_later_fit_moves(
        self, run, other_digits
    ):
        model = run()
        layers = layers_of(model) | {"head": model.get_layer("head")}
        training = other_digits.training

        def compile_():
            model.compile(
                gdtrain.GradientDescent(0.01),
                loss="sparse_categorical_crossentropy",
                jit_compile=False,
            )

        def moved():
            before = {n: layer.get_weights() for n, layer in layers.items()}
            model.fit(training.images, training.labels, verbose=0)
            return [
                name
                for name, weights in before.items()
                if any(map(np.any, map(np.not_equal, weights,
                                       layers[name].get_weights())))
            ]  # fmt: skip

        compile_()
        trained = model.fine_tuning.trained
        assert moved() == [*trained, "head"]
        layers[trained[0]].trainable = False
        assert moved() == [*trained[1:], "head"]
        layers[trained[0]].trainable = True
        layers["block2_bn"].trainable = True
        compile_()
        assert moved() == ["block2_bn", *trained, "head"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"epochs": 0}, "epochs"),
            ({"batch_normalization": "no"}, "batch_normalization"),
            ({"augmentation": -1}, "strength"),
        ],
    )
    def test_it_is_refused(self, run, arguments, words):
        with pytest.raises(ValueError, match=words):
            run(**arguments)

    def test_several_replicas_are_refused(self, run, two_replicas):
        with two_replicas.scope():
            with pytest.raises(ValueError, match="one replica.*Received.* 2"):
                run()

    def test_a_class_with_one_photo_is_named_before_anything_is_computed(
        self, other_digits, backbone_of_digits, computed
    ):
        learned = other_digits.training
        is_kept = learned.labels != 2
        is_kept[np.flatnonzero(~is_kept)[0]] = True
        few = replace(
            other_digits,
            training=LabelledImages(
                learned.images[is_kept], learned.labels[is_kept]
            ),
        )
        with pytest.raises(ValueError, match=r"two or more.*'7' \(1\)"):
            fine_tune(few, backbone_of_digits, verbose=0)
        assert not computed
