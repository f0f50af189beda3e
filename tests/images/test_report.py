"""A report's numbers are right, and its page needs nothing from outside."""

import base64
import errno
import html.parser
import io
import os
import sys
import warnings
import xml.etree.ElementTree as ElementTree

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn import linear_model, metrics, model_selection
from tensorboard.backend.event_processing import event_accumulator

from gdtrain.images.photos import LabelledImages, PhotoFile, Photos
from gdtrain.images.reporting import report
from gdtrain.writers import TensorBoardWriter

EVIL = 'a<b>&"c"\'\x00\udc80</td></style><script>'
ODD = [
    EVIL,
    "x" * 500,
    "寿司 ñ e\u0301",
    "Screenshot 9.41\u202fAM",
    "\u202egpj.exe",
    "$\\frac$",
]


def part_of(labels, files=None, shape=(12, 16, 3)):
    """Photos of one color each, which is their position."""
    labels = np.asarray(labels)
    colors = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(colors, (len(labels), *shape))
    listed = [PhotoFile(f, "", "", "", "read", "") for f in files or []]
    return LabelledImages(np.ascontiguousarray(images), labels, listed)


def photos_of(held_out, training=(0, 1), names=None, **options):
    """Photos with these labels."""
    names = names or [f"class {i}" for i in range(max(held_out) + 1)]
    held_out = part_of(held_out, **options)
    return Photos(names, part_of(training), held_out, [], "Made up.")


def random_outputs(count, classes, seed=0):
    """Labels, and probabilities that are right in most of them."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    outputs = random.dirichlet(np.ones(classes), count)
    outputs[np.arange(count), labels] += 1.5 / classes
    return labels, outputs / outputs.sum(1, keepdims=True)


def test_numbers_are_those_of_scikit_learn():
    labels, outputs = random_outputs(200, 5)
    found, said = report(outputs, photos_of(labels)), outputs.argmax(1)
    assert found.accuracy == metrics.accuracy_score(labels, said)
    expected = metrics.confusion_matrix(labels, said)
    np.testing.assert_array_equal(found.confusion, expected)
    precision, recall, _, _ = metrics.precision_recall_fscore_support(
        labels, said
    )
    np.testing.assert_allclose(found.precision, precision, rtol=1e-15)
    np.testing.assert_allclose(found.recall, recall, rtol=1e-15)


def test_numbers_are_those_by_hand():
    outputs = [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.3, 0.7, 0], [0.6, 0.4, 0]]
    found = report(outputs, photos_of([0, 1, 1, 0], names=["a", "b", "c"]))
    assert found.accuracy == 0.75
    assert found.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    # No photo is of the third class, or was taken for it.
    np.testing.assert_equal(found.precision, [2 / 3, 1, np.nan])
    np.testing.assert_equal(found.recall, [1, 0.5, np.nan])
    # Wilson 1927: 3 of 4, with z = 1.959964.
    assert found.interval == pytest.approx((0.300642, 0.954413), abs=1e-6)
    gaps = [abs(1 - 0.9), abs(0 - 0.8), abs(1 - 0.7), abs(1 - 0.6)]
    error = found.expected_calibration_error
    assert error == pytest.approx(np.mean(gaps), abs=1e-9)


def test_bins_of_the_diagram_have_the_calibration_error():
    labels, outputs = random_outputs(300, 3)
    found = report(outputs, photos_of(labels))
    bins = found.reliability
    assert sum(one.photos for one in bins) == 300
    error = sum(abs(b.accuracy - b.confidence) * b.photos for b in bins) / 300
    assert found.expected_calibration_error == pytest.approx(error, abs=1e-12)
    assert all(b.low <= b.accuracy <= b.high for b in bins)
    confidences = [b.confidence for b in bins]
    assert confidences == sorted(confidences)


def test_a_bin_has_its_upper_end():
    # 0.6 = 9 / 15, so that these two are in different bins.
    found = report([[0.6, 0.4], [0.62, 0.38]], photos_of([0, 1]))
    assert [one.photos for one in found.reliability] == [1, 1]
    error = found.expected_calibration_error
    assert error == pytest.approx((0.4 + 0.62) / 2)


def test_most_wrong_are_the_surest_mistakes():
    outputs = [[0.6, 0.4], [0.9, 0.1], [0.95, 0.05], [0.2, 0.8]]
    files = ["a/0.jpg", "a/1.jpg", "a/2.jpg", "a/3.jpg"]
    found = report(
        outputs, photos_of([1, 1, 0, 1], names=["cat", "dog"], files=files)
    )
    assert found.most_wrong == [
        ("a/1.jpg", "dog", "cat", 0.9, 1),
        ("a/0.jpg", "dog", "cat", 0.6, 0),
    ]
    assert found.most_suspect == []
    assert "Most wrong: a/1.jpg is dog, said cat (0.90)." in str(found)


def test_at_most_20_photos_are_listed():
    found = report(np.eye(2)[[1] * 30], photos_of([0] * 30, names=["a", "b"]))
    assert len(found.most_wrong) == 20
    assert "20 of 30 held-out photos" in found._repr_html_()


def test_suspect_labels_are_ranked_by_the_probability_of_the_label():
    cross_validated = [[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.95, 0.05]]
    found = report(
        np.eye(2),
        photos_of([0, 1], training=[0, 0, 1, 1], names=["cat", "dog"]),
        cross_validated=cross_validated,
    )
    listed = [
        (one.file, one.given, one.said, round(one.probability, 6))
        for one in found.most_suspect
    ]
    assert listed == [
        ("training 3", "dog", "cat", 0.05),
        ("training 2", "dog", "cat", 0.2),
        ("training 1", "cat", "dog", 0.4),
    ]


@pytest.mark.parametrize("classes", [2, 5])
def test_most_mislabelled_photos_are_among_the_most_suspect(classes):
    random = np.random.default_rng(3)
    count, mislabelled = 160, 16
    right = random.integers(0, classes, count)
    centers = random.normal(size=(classes, 32))
    features = centers[right] + 1.2 * random.normal(size=(count, 32))
    wrong = random.choice(count, mislabelled, replace=False)
    labels = right.copy()
    shift = random.integers(1, classes, mislabelled)
    labels[wrong] = (right[wrong] + shift) % classes
    cross_validated = model_selection.cross_val_predict(
        linear_model.LogisticRegression(C=0.1),
        features,
        labels,
        method="predict_proba",
    )
    names = [str(i) for i in range(classes)]
    photos = photos_of([0], training=labels, names=names)
    found = report(np.eye(classes)[:1], photos, cross_validated=cross_validated)
    suspect = {one.position for one in found.most_suspect[:20]}
    assert len(suspect & set(wrong)) >= mislabelled / 2


def test_model_and_logits_give_the_same_report():
    photos = photos_of([0, 1, 0])
    model = keras.Sequential(
        [
            keras.Input([12, 16, 3]),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    logits = model.predict(photos.held_out.images, verbose=0)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for outputs in (model, logits):
        found = report(outputs, photos, cross_validated=logits[:2])
        np.testing.assert_allclose(found.probabilities, expected, rtol=1e-6)
        np.testing.assert_allclose(found.cross_validated, expected[:2], 1e-6)


@pytest.mark.parametrize(
    ("outputs", "training", "message"),
    [
        (np.eye(3), None, r"`outputs` must be.*\[2, 2\].*shape \[3, 3\]"),
        (np.eye(2), np.eye(2)[:1], "`cross_validated` must be one row"),
        ([[np.nan, 1], [0, 1]], None, "NaN or infinity, the first at 0"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(outputs, training, message):
    photos = photos_of([0, 1])
    with pytest.raises(ValueError, match=message):
        report(outputs, photos, cross_validated=training)


def test_report_on_no_photos_is_refused():
    few = part_of([0, 1])
    photos = Photos(["a", "b"], few, part_of([]), [], "")
    with pytest.raises(ValueError, match="held_out=0.2"):
        report(np.zeros([0, 2]), photos)


class Outside(html.parser.HTMLParser):
    """What a browser finds on a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.texts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [
            value
            for name, value in attributes
            if name in ("href", "src", "srcset", "xlink:href", "action", "data")
        ]

    def handle_data(self, data):
        self.texts.append(data)


def odd_report():
    """A report with names and files of the oddest kind."""
    count = len(ODD)
    outputs = np.roll(np.eye(count), 1, axis=1)
    photos = photos_of(range(count), range(count), ODD, files=ODD)
    return report(outputs, photos, cross_validated=outputs)


def test_page_of_odd_names_is_valid_and_escaped(tmp_path):
    path = tmp_path / "report.html"
    odd_report().save_html(path)
    text = path.read_bytes().decode("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    tree = ElementTree.fromstring(text)
    assert tree.find("head/title").text == "0 of 6 held-out photos are right"
    assert tree.find(".//script") is None
    page = Outside()
    page.feed(text)
    assert "script" not in page.tags
    shown = EVIL.replace("\x00", "\ufffd").replace("\udc80", "\ufffd")
    names = [part.text for part in tree.iter("span") if part.text]
    assert names.count(shown) >= 3
    assert "寿司 ñ e\u0301" in names and "Screenshot 9.41\u202fAM" in names
    assert "\u202e" not in text  # It would turn what follows around.


def test_page_holds_its_photos_and_no_link(tmp_path):
    path = tmp_path / "report.html"
    odd_report().save_html(path)
    text = path.read_text("utf-8")
    page = Outside()
    page.feed(text)
    assert len(page.addresses) == 2 * len(ODD)
    for address in page.addresses:
        kind, _, data = address.partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (16, 12)
    assert "://" not in text and "url(" not in text and "@import" not in text
    assert {"link", "script", "iframe", "a"}.isdisjoint(page.tags)
    assert "default-src 'none'" in text


def test_photos_of_the_page_are_those_of_the_list():
    outputs = [[0.6, 0.4], [0.9, 0.1], [1, 0]]
    photos = photos_of([1, 1, 1], names=["a", "b"], shape=(8, 8, 1))
    tree = ElementTree.fromstring(report(outputs, photos)._repr_html_())
    shades = []
    for image in tree.iter("img"):
        data = base64.b64decode(image.get("src").partition(",")[2])
        shades.append(int(np.asarray(Image.open(io.BytesIO(data))).mean()))
    assert shades == [2, 1, 0]


def test_captions_and_paths_are_beside_the_photos():
    names = ["مرحبا", "x" * 500]
    files = ["/home/me/photos/a/1.jpg", "/home/me/photos/b/<2>.jpg"]
    outputs = [[0.25, 0.75], [0.9, 0.1]]
    found = report(outputs, photos_of([0, 1], names=names, files=files))
    tree = ElementTree.fromstring(found._repr_html_())
    captions = ["".join(c.itertext()) for c in tree.iter("figcaption")]
    cut = "x" * 40 + "…" + "x" * 39
    # A name that is written leftwards must not pull the number over.
    assert [name.text for name in tree.iter("bdi")] == [
        cut,
        names[0],
        names[0],
        cut,
    ]
    assert captions == [
        f"is {cut}said {names[0]} (0.90)b/<2>.jpg",
        f"is {names[0]}said {cut} (0.75)a/1.jpg",
    ]
    paths = tree.find(".//details/pre").text
    assert paths.splitlines() == files[::-1]


def test_page_without_mistakes_says_so():
    photos = photos_of([0, 1])
    html = report(np.eye(2), photos)._repr_html_()
    assert "No held-out photo was taken for another class." in html
    assert "They were not looked for" in html
    html = report(np.eye(2), photos, cross_validated=np.eye(2))._repr_html_()
    assert "as expected" in html
    assert ElementTree.fromstring(html).find(".//img") is None


def test_page_of_many_classes_lists_pairs_instead_of_a_matrix():
    labels, outputs = random_outputs(400, 60)
    found = report(outputs, photos_of(labels, range(60)))
    tree = ElementTree.fromstring(found._repr_html_())
    pairs, classes = tree.iter("table")
    assert len(list(pairs.iter("tr"))) == 1 + 12
    assert "60 classes are too many for a matrix" in found._repr_html_()
    assert len(list(classes.iter("tr"))) == 1 + 30
    lowest = list(classes.iter("tr"))[1][3]
    assert "No photo" in report(np.eye(60), photos_of(range(60)))._repr_html_()
    assert float(lowest.text) == pytest.approx(found.recall.min(), abs=0.005)


def test_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    found, path = report(np.eye(2), photos_of([0, 1])), tmp_path / "a.html"
    path.write_text("old")

    def fail(*paths):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError):
        found.save_html(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.html"]


def test_pictures_are_saved_for_each_part(tmp_path):
    with warnings.catch_warnings():
        # Of glyphs that Matplotlib's font lacks.
        warnings.simplefilter("ignore", UserWarning)
        paths = odd_report().save_png(tmp_path / "pictures")
    names = [path.rpartition("/")[2] for path in paths]
    assert names == [
        "confusion.png",
        "precision_recall.png",
        "reliability.png",
        "most_wrong.png",
        "most_suspect.png",
    ]
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG" and max(image.size) < 4000


def test_tensorboard_gets_numbers_and_pictures(tmp_path):
    labels, outputs = random_outputs(50, 3)
    found = report(outputs, photos_of(labels), log_dir=tmp_path)
    writer = TensorBoardWriter(tmp_path)
    found.write(writer, step=7)
    writer.close()
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    accuracies = events.Scalars("report/accuracy")
    assert [event.step for event in accuracies] == [0, 7]
    assert accuracies[0].value == np.float32(found.accuracy)
    bounds = [
        events.Scalars(f"report/accuracy_{e}")[0] for e in ("low", "high")
    ]
    assert [b.value for b in bounds] == np.float32(found.interval).tolist()
    tags = events.Tags()["tensors"]
    assert {f"report/{name}" for name in found.figures()} <= set(tags)


def test_without_matplotlib_page_and_numbers_are_left(tmp_path, monkeypatch):
    found = report(np.eye(2), photos_of([0, 1]))
    monkeypatch.setitem(sys.modules, "gdtrain.plots", None)
    assert "Left out" not in found._repr_html_()
    writer = TensorBoardWriter(tmp_path)
    with pytest.warns(UserWarning, match="no pictures of the report"):
        found.write(writer)
    writer.close()
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("report/accuracy")[0].value == 1
    with pytest.raises(ImportError):
        found.save_png(tmp_path)
