"""Pictures of a whole test set show what was right and what was not."""

import numpy as np
import pytest
from PIL import Image

from gdtrain import plots

OUTPUTS = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
LABELS = [0, 1, 0, 1]
IMAGES = np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1)


def counts(axes):
    """The numbers of a confusion, by `(row, column)`."""
    return {
        tuple(reversed(text.get_position())): text.get_text()
        for text in axes.texts
    }


def groups(figure):
    """The titles of the images drawn, by the title of their group."""
    return {
        part.get_suptitle(): [a.get_title() for a in part.axes if a.images]
        for part in figure.subfigs
    }


def test_confusions_are_counted_by_class():
    outputs = np.eye(3)[[0, 1, 1, 2]]
    axes = plots.confusion([0, 0, 1, 2], outputs, ["a", "b", "rabbit"]).axes[0]
    expected = {(0, 0): "1", (0, 1): "1", (1, 1): "1", (2, 2): "1"}
    assert counts(axes) == expected
    assert axes.get_title("left") == "3 of 4 are right"
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["a", "b", "rabbit"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("taken for", "is")


def test_shares_of_a_class_have_the_colors():
    labels = [0] * 4 + [1]
    outputs = np.eye(2)[[0, 0, 0, 1, 1]]
    axes = plots.confusion(labels, outputs).axes[0]
    shares = axes.images[0].get_array().tolist()
    assert shares == [[0.75, 0.25], [0.0, 1.0]]


def test_many_classes_are_drawn_without_numbers(tmp_path):
    path, count = tmp_path / "confusion.png", 60
    names = [f"class {i}" for i in range(count)]
    figure = plots.confusion(np.arange(count), np.eye(count), names, path)
    assert counts(figure.axes[0]) == {}
    with Image.open(path) as image:
        assert max(image.size) <= 3000


def test_of_very_many_classes_those_confused_most_are_drawn():
    labels = np.arange(200)
    said = np.where(labels == 150, 199, labels)
    axes = plots.confusion(labels, np.eye(200)[said]).axes[0]
    title = "199 of 200 are right; of 200 classes, the 60 most confused"
    assert axes.get_title("left") == title
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 60 and names[-2:] == ["150", "199"]
    shares = axes.images[0].get_array()
    assert shares[-2].tolist() == [0] * 59 + [1]


def test_sample_and_most_confident_mistakes_are_drawn(tmp_path):
    path = tmp_path / "predictions.png"
    figure = plots.predictions(IMAGES, LABELS, OUTPUTS, "ab", path)
    drawn = groups(figure)
    sample, mistakes = drawn
    assert sample == "4 of 4 images"
    assert mistakes == "The most confident of 2 mistakes"
    wrong = ["b  80%  ✗\nis a", "a  60%  ✗\nis b"]
    assert drawn[mistakes] == wrong
    right = ["a  90%  ✓", "b  70%  ✓"]
    assert sorted(drawn[sample]) == sorted([*right, *wrong])
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_each_image_is_beneath_its_own_title():
    (sample, _) = plots.predictions(IMAGES, LABELS, OUTPUTS).subfigs
    for axes in sample.axes[:4]:
        shown = axes.images[0].get_array() * 15
        (at,) = np.flatnonzero((IMAGES[..., 0] == shown).all((1, 2)))
        assert axes.get_title().startswith(
            f"{OUTPUTS[at].argmax()}  {OUTPUTS[at].max():.0%}"
        )


def test_without_mistakes_there_are_none_to_draw():
    figure = plots.predictions(np.zeros([2, 4, 4, 3]), [0, 1], np.eye(2))
    assert list(groups(figure)) == ["2 of 2 images"]


def test_at_most_24_images_and_8_mistakes_are_drawn_by_the_seed():
    random = np.random.default_rng(0)
    outputs = random.dirichlet([1, 1, 1], 200)
    images, labels = np.zeros([200, 2, 2]), random.integers(0, 3, 200)
    first, again, other = (
        groups(plots.predictions(images, labels, outputs, seed=seed))
        for seed in (0, 0, 1)
    )
    assert [len(titles) for titles in first.values()] == [24, 8]
    assert first == again != other


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="argmax"):
        plots.confusion(np.eye(4), OUTPUTS)
    with pytest.raises(ValueError, match="`labels` must be"):
        plots.predictions(IMAGES, [0, 1], OUTPUTS)
