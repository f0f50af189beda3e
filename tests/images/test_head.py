"""The head of a classifier of photos against scikit-learn and brute force."""

import warnings

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import gdtrain
from gdtrain.images.axes import standardization
from gdtrain.images.cross_entropy import log_softmax
from gdtrain.images.head import STRENGTHS, fit_head


def photos(count=60, width=20, classes=3, seed=0):
    """Features that are correlated, of different scales, and their labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centers = random.normal(size=[classes, width])
    features = centers[labels] + 1.5 * random.normal(size=[count, width])
    features = features @ random.normal(size=[width, width])
    scales = np.exp(random.normal(size=width))
    return (features * scales + 3 * scales).astype(np.float32), labels


def by_scikit_learn(features, labels, l2, class_weight=None, seen=None):
    """Kernel and bias for standardized features, and the logits of all."""
    x = standardization(features)(features)
    seen = slice(None) if seen is None else seen
    classes = labels.max() + 1
    weight = np.ones(classes)
    for label, value in (class_weight or {}).items():
        weight[label] = value
    total = np.sum(weight[labels[seen]])
    # Two classes have one vector there, the difference of the two here.
    strength = (2 if classes == 2 else 1) / (l2 * total)
    model = LogisticRegression(
        C=strength, tol=1e-9, max_iter=10_000, class_weight=class_weight
    ).fit(x[seen], labels[seen])
    kernel, bias = model.coef_.T, model.intercept_
    if classes == 2:
        kernel = np.concatenate([-kernel, kernel], axis=1) / 2
        bias = np.concatenate([-bias, bias]) / 2
    bias = bias - bias.mean()
    return kernel, bias, x @ kernel + bias


def standardized(head, features):
    """The kernel of a head, for standardized features."""
    deviation = standardization(features).deviation[:, np.newaxis]
    return head.kernel * np.where(np.isfinite(deviation), deviation, 1)


@pytest.fixture(scope="module")
def chosen():
    features, labels = photos()
    return features, labels, fit_head(features, labels, classes=3)


@pytest.mark.mostly_long("more features, two classes")
@pytest.mark.parametrize(
    "count, width, classes, l2, class_weight",
    [
        (60, 20, 3, 0.03, None),
        (40, 100, 2, 0.1, None),
        (60, 20, 3, 0.3, {0: 1.0, 1: 5.0, 2: 0.5}),
    ],
    ids=["more photos", "more features, two classes", "class weights"],
)
def test_head_is_the_optimum_that_scikit_learn_finds(
    count, width, classes, l2, class_weight
):
    features, labels = photos(count, width, classes)
    head = fit_head(
        features, labels, classes=classes, l2=l2, class_weight=class_weight
    )
    kernel, _, logits = by_scikit_learn(features, labels, l2, class_weight)
    assert np.abs(standardized(head, features) - kernel).max() < 1e-4
    found = head.logits(features)
    assert np.abs(found - found.mean(1, keepdims=True) - logits).max() < 1e-3
    assert np.abs(logits).max() > 1
    assert head.l2 == l2 and head.gap <= 1e-9
    assert list(head.log_losses) == [l2]


def test_held_out_logits_are_of_models_that_did_not_see_the_photo(chosen):
    features, labels, head = chosen
    for fold in range(5):
        held_out = head.folds == fold
        assert 0 < held_out.sum() < len(labels) / 2
        _, _, logits = by_scikit_learn(
            features, labels, head.l2, seen=~held_out
        )
        found = head.cross_validated[held_out]
        assert np.abs(found - logits[held_out]).max() < 1e-3


def test_strength_has_the_least_cross_validated_loss(chosen):
    features, labels, head = chosen
    assert head.log_losses[head.l2] == min(head.log_losses.values())
    strengths = STRENGTHS * features.shape[1] / len(features)
    assert list(head.log_losses) == list(strengths[: len(head.log_losses)])
    for l2 in [strengths[0], head.l2, list(head.log_losses)[-1]]:
        logits = np.zeros([len(labels), 3])
        for fold in range(5):
            held_out = head.folds == fold
            _, _, every = by_scikit_learn(features, labels, l2, seen=~held_out)
            logits[held_out] = every[held_out]
        chances = log_softmax(logits)[np.arange(len(labels)), labels]
        assert head.log_losses[l2] == pytest.approx(-chances.mean(), abs=0.01)
    assert head.log_losses[strengths[0]] > 1.1 * head.log_losses[head.l2]


def test_bound_is_above_the_distance_to_the_optimum(chosen):
    features, labels, head = chosen
    x = standardization(features)(features)

    def objective(kernel, logits):
        chances = log_softmax(logits)[np.arange(len(labels)), labels]
        return -chances.mean() + head.l2 / 2 * np.sum(kernel**2)

    kernel, bias, logits = by_scikit_learn(features, labels, head.l2)
    found = objective(standardized(head, features), head.logits(features))
    assert abs(found - objective(kernel, logits)) <= head.gap + 1e-9
    residuals = np.exp(log_softmax(head.logits(features))) - np.eye(3)[labels]
    gradient = x.T @ residuals / len(x)
    gradient += head.l2 * standardized(head, features)
    assert np.linalg.norm(gradient) == pytest.approx(
        head.gradient_norm, abs=1e-6
    )
    assert np.abs(residuals.mean(0)).max() < 1e-6  # The bias's gradient


def test_order_of_photos_changes_nothing(chosen):
    features, labels, head = chosen
    order = np.random.default_rng(1).permutation(len(labels))
    other = fit_head(features[order], labels[order], classes=3)
    assert other.l2 == head.l2
    assert np.array_equal(other.folds, head.folds[order])
    assert np.abs(other.logits(features) - head.logits(features)).max() < 1e-3
    held_out = other.cross_validated - head.cross_validated[order]
    assert np.abs(held_out).max() < 1e-3


def test_scale_of_features_changes_nothing(chosen):
    features, labels, head = chosen
    scales = np.float32(2.0) ** (np.arange(features.shape[1]) % 21 - 10)
    other = fit_head(features * scales + 4 * scales, labels, classes=3)
    assert other.l2 == head.l2
    assert np.array_equal(other.folds, head.folds)
    found = other.logits(features * scales + 4 * scales)
    assert np.abs(found - head.logits(features)).max() < 1e-3


def test_equal_calls_are_equal_to_the_last_bit(chosen):
    features, labels, head = chosen
    keras.utils.set_random_seed(5)
    other = fit_head(features, labels, classes=["a", "b", "c"])
    assert np.array_equal(other.kernel, head.kernel)
    assert np.array_equal(other.cross_validated, head.cross_validated)
    assert other.history == head.history


def test_seed_draws_the_folds(chosen):
    features, labels, head = chosen
    other = fit_head(features, labels, classes=3, seed=1, l2=head.l2)
    assert not np.array_equal(other.folds, head.folds)
    assert np.array_equal(np.bincount(other.folds), np.bincount(head.folds))


def test_constant_and_repeated_features_are_no_obstacle():
    features, labels = photos(width=4)
    wide = np.concatenate([features, features, np.full([60, 2], 0.1)], axis=1)
    head = fit_head(wide.astype(np.float32), labels, classes=3, l2=0.1)
    assert np.all(head.kernel[-2:] == 0)
    assert np.abs(head.kernel[:4] - head.kernel[4:8]).max() < 1e-5
    # Two equal features share a weight, at half the penalty.
    alone = fit_head(features, labels, classes=3, l2=0.05)
    assert np.abs(2 * head.kernel[:4] - alone.kernel).max() < 1e-4


def test_classes_that_a_plane_separates_are_solved_too():
    features, labels = photos(classes=2)
    head = fit_head(features + 99 * labels[:, None], labels, classes=(7, None))
    assert np.array_equal(head.cross_validated.argmax(1), labels)
    assert head.gap <= 1e-6


def test_a_class_100_times_as_large_as_another_is_solved_too():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [500, 5])
    features = random.normal(size=[505, 4]) + 4 * labels[:, None]
    head = fit_head(features, labels, classes=2)
    assert sorted(head.folds[labels == 1]) == [0, 1, 2, 3, 4]
    assert np.mean(head.cross_validated.argmax(1) == labels) > 0.99
    assert head.gap <= 1e-5


def test_one_program_serves_all_strengths_and_callbacks_see_the_steps():
    class Traces(gdtrain.callbacks.Callback):
        fits = steps = 0
        quantities = ["loss"]

        def on_train_begin(self, logs=None):
            self.fits += 1

        def on_block(self, table):
            self.steps += len(table["loss"])

        def before_step(self, model):
            traced.append(1)

    traced = []
    callback = Traces()
    features, labels = photos()
    head = fit_head(features, labels, classes=3, callbacks=[callback])
    assert callback.fits > 3
    assert callback.steps == len(head.history)
    assert len(traced) <= 2


def test_epochs_count_on_whatever_the_callbacks_are():
    class OfAllFits(keras.callbacks.History):
        epoch = ()

        def on_train_begin(self, logs=None):
            self.epoch = [*self.epoch]

    features, labels = photos()
    alone = fit_head(features, labels, classes=3)
    history = OfAllFits()
    head = fit_head(features, labels, classes=3, callbacks=[history])
    assert history.epoch == list(range(len(alone.history)))
    assert history.history["loss"] == head.history == alone.history


def test_weak_strength_that_takes_all_steps_is_reported(monkeypatch):
    monkeypatch.setattr("gdtrain.images.head._SOLVED", (1e-9, 100))
    features, labels = photos()
    with pytest.warns(UserWarning, match="not at its optimum"):
        head = fit_head(features, labels, classes=3, l2=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert head.gap > 1e-9


@pytest.mark.parametrize(
    "change, message",
    [
        ({"classes": 1}, "at least 2"),
        ({"classes": ["cat"]}, "at least 2"),
        ({"classes": 4}, r"two or more photos.*Received: 3 \(0\)"),
        ({"classes": ["a", "b"]}, "from 0 to 1"),
        ({"labels": np.arange(60) / 2}, "must be integers"),
        ({"labels": np.arange(59) % 3}, "a label for each row"),
        ({"labels": np.array([0] * 59 + [1])}, r"Received: 1 \(1\), 2 \(0\)"),
        ({"features": np.full([60, 2], np.nan)}, "must be finite"),
        ({"features": np.zeros([60])}, "two-dimensional"),
        ({"features": np.ones([60, 3])}, "must differ between photos"),
        ({"l2": 0.0}, "`l2`"),
        ({"class_weight": {0: 1.0}}, "a weight for each class"),
        ({"class_weight": {0: 1.0, 1: 0.0, 2: 1.0}}, "above 0"),
    ],
)
def test_what_cannot_be_used_is_refused(change, message):
    features, labels = photos()
    arguments = {"features": features, "labels": labels, "classes": 3}
    with pytest.raises(ValueError, match=message):
        fit_head(**{**arguments, **change})
