"""Standardized features in their principal axes, and folds."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from gdtrain.images import axes


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (2000, 10)])
def test_coordinates_are_turned_and_uncorrelated(shape):
    random = np.random.default_rng(0)
    features = 3 + random.normal(size=shape) @ random.normal(
        size=[shape[1], shape[1]]
    )
    found = axes.principal_axes(features.astype(np.float32))
    standardized = StandardScaler().fit_transform(features)
    size = found.axes.shape[1]
    assert size == min(shape[0] - 1, shape[1])
    assert np.allclose(found.axes.T @ found.axes, np.eye(size), atol=1e-6)
    assert np.allclose(
        found.coordinates @ found.coordinates.T,
        standardized @ standardized.T,
        atol=1e-3,
    )
    covariance = found.coordinates.T @ found.coordinates / shape[0]
    assert np.allclose(covariance, np.diag(found.variances), atol=1e-4)
    assert np.all(np.diff(found.variances) <= 0)


def test_unturned_kernel_gives_the_same_logits():
    random = np.random.default_rng(0)
    features = random.normal(2, 3, size=[20, 6])
    found = axes.principal_axes(features)
    kernel, bias = random.normal(size=[6, 2]), random.normal(size=2)
    there, here = found.unturned(kernel, bias)
    assert np.allclose(
        features @ there + here, found.coordinates @ kernel + bias, atol=1e-5
    )


def folds_of(features, labels, **changes):
    arguments = {"folds": 5, "seed": 0, **changes}
    return axes.stratified_folds(
        axes.standardization(features), features, labels, **arguments
    )


def test_each_fold_has_its_share_of_each_class():
    labels = np.array([0] * 40 + [1] * 11 + [2] * 2)
    features = np.random.default_rng(0).normal(size=[53, 4])
    found = folds_of(features, labels)
    for label, shares in [(0, [8] * 5), (1, [2, 2, 2, 2, 3])]:
        counts = np.bincount(found[labels == label], minlength=5)
        assert sorted(counts) == shares
    assert len(set(found[labels == 2])) == 2


def test_copies_of_a_photo_are_in_one_fold():
    random = np.random.default_rng(0)
    once = random.normal(size=[500, 8])
    copies = once + 1e-4 * random.normal(size=once.shape)
    found = folds_of(np.concatenate([once, copies]), np.zeros(1000, int))
    assert np.mean(found[:500] == found[500:]) > 0.97


def test_folds_do_not_depend_on_order_and_scale():
    random = np.random.default_rng(0)
    features, labels = random.normal(size=[50, 4]), np.arange(50) % 3
    found = folds_of(features, labels)
    order = random.permutation(50)
    assert np.array_equal(
        folds_of(features[order], labels[order]), found[order]
    )
    assert np.array_equal(folds_of(8 * features, labels), found)
    assert not np.array_equal(folds_of(features, labels, seed=1), found)
