"""Photos of nothing learned: their score, and how many known are refused."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gdtrain.checkpoint import files
from gdtrain.images.none_of_these import NoneOfThese


def blobs(photos, width, seed=0):
    """Features of three classes, with their labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(photos) % 3
    mixed = random.normal(size=[photos, width]) @ random.normal(
        size=[width, width]
    )
    return mixed + 5 * random.normal(size=[3, width])[labels], labels


def direction(row):
    power = np.sign(row) * np.abs(row) ** 0.75
    return power / np.sqrt(np.sum(power**2))


@pytest.mark.parametrize("photos", [2, 3, 4, 90])
def test_score_is_the_mean_distance_to_the_three_nearest(photos):
    features, labels = blobs(photos, 20)
    others = 7 * blobs(5, 20, seed=1)[0]
    expected = [
        np.mean(
            sorted(
                np.linalg.norm(direction(other) - direction(row))
                for row in features
            )[:3]
        )
        for other in others
    ]
    found = NoneOfThese(features, labels).score(others)
    assert found == pytest.approx(expected, abs=1e-3)


def test_threshold_refuses_the_stated_share_of_photos_not_seen():
    features, labels = blobs(3000, 10)
    learned, unseen = slice(0, 1000), slice(1000, None)
    for refused in (0.02, 0.2):
        none = NoneOfThese(features[learned], labels[learned], refused)
        assert none.refused_of_held_out <= 1000 * refused
        assert none.refused_of_held_out >= 1000 * refused - 2
        assert refused - 0.001 < none.refused_at_most <= refused
        share = none.is_none(features[unseen]).mean()
        assert share == pytest.approx(refused, abs=0.35 * refused)
        low, high = none.refusal_interval
        assert low < refused < high


def test_few_photos_have_the_largest_score_as_threshold():
    features, labels = blobs(30 * 200, 6)
    order = np.random.default_rng(0).permutation(len(labels))
    refused = []
    for rows in order.reshape(200, 30):
        none = NoneOfThese(features[rows[:20]], labels[rows[:20]])
        assert none.threshold == none.cross_validated.max()
        assert none.refused_at_most == 1 / 21
        refused.append(none.is_none(features[rows[20:]]).mean())
    assert 0.02 < np.mean(refused) < 1 / 21 + 0.01


def test_images_that_are_no_digits_are_refused():
    images, labels = load_digits(return_X_y=True)
    learned = np.arange(len(labels)) % 2 == 0
    none = NoneOfThese(images[learned], labels[learned])
    assert none.is_none(images[~learned]).mean() < 0.04
    random = np.random.default_rng(0)
    assert none.is_none(random.uniform(0, 16, size=[100, 64])).all()
    mixed = random.permuted(images[~learned], axis=1)
    assert none.is_none(mixed).mean() > 0.99


def test_most_digits_that_were_not_learned_are_refused():
    images, labels = load_digits(return_X_y=True)
    known = labels < 5
    learned = known & (np.arange(len(labels)) % 2 == 0)
    none = NoneOfThese(images[learned], labels[learned])
    assert none.is_none(images[known & ~learned]).mean() < 0.04
    assert none.is_none(images[~known]).mean() > 0.7


def test_held_out_scores_are_of_photos_that_were_not_seen():
    # A photo that was seen has itself as its nearest one.
    features, labels = blobs(40, 100)
    none = NoneOfThese(features, labels, refused=0.1)
    assert none.score(features).max() < np.median(none.cross_validated)


def test_order_and_scale_change_no_score():
    features, labels = blobs(60, 8)
    none = NoneOfThese(features, labels)
    order = np.random.default_rng(0).permutation(60)
    other = NoneOfThese(4 * features[order], labels[order])
    assert np.allclose(
        other.cross_validated, none.cross_validated[order], atol=1e-3
    )
    assert other.threshold == pytest.approx(none.threshold, abs=1e-3)


def test_of_very_many_photos_some_are_kept():
    features, labels = blobs(9000, 4)
    none = NoneOfThese(features[:5000], labels[:5000])
    assert len(none.cross_validated) == 4096
    unseen = features[5000:]
    assert none.is_none(unseen).mean() == pytest.approx(0.02, abs=0.01)
    again = NoneOfThese(features[:5000], labels[:5000])
    assert np.array_equal(again.score(features), none.score(features))


def test_photos_without_variation_within_a_class_have_a_score():
    features = np.repeat([[0.0, 1.0], [1.0, 0.0]], 10, axis=0)
    none = NoneOfThese(features, np.repeat([0, 1], 10), refused=0.2)
    assert none.score(features).max() == pytest.approx(0, abs=1e-3)
    assert none.is_none(np.array([[-30.0, 0.0], [1.0, 1.0]])).all()


def test_features_of_zeros_are_far_from_everything():
    features, labels = blobs(30, 4)
    none = NoneOfThese(features, labels)
    assert none.score(np.zeros([1, 4])) == pytest.approx(np.sqrt(2))
    assert np.isfinite(NoneOfThese(0 * features, labels).threshold)


def test_attributes_can_be_kept_in_a_file():
    none = NoneOfThese(*blobs(30, 4))
    again = object.__new__(NoneOfThese)
    vars(again).update(files.unpack(*files.pack(vars(none))))
    others = np.ones([2, 4])
    assert np.array_equal(again.score(others), none.score(others))


@pytest.mark.parametrize(
    "features, labels, more, message",
    [
        (np.eye(4), [0, 0, 1, 1], {"refused": 1}, "below 1"),
        (np.eye(4), [0, 0, 1], {}, "a label for each row"),
        (np.eye(2), [0.0, 1.0], {}, "must be integers"),
        (np.full([2, 2], np.nan), [0, 1], {}, "finite"),
    ],
)
def test_what_cannot_be_used_is_refused(features, labels, more, message):
    with pytest.raises(ValueError, match=message):
        NoneOfThese(features, labels, **more)
