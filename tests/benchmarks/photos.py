"""What `gdtrain.images` reaches, beside what it should, in one table.

    python -m tests.benchmarks.photos FOLDER --weights FILE [--only SECTION]

FOLDER has 200 photos, `hotdog/` and `not_hotdog/`; the backbone of these is
EfficientNet-Lite0 (see `tests.benchmarks.efficientnet_lite` for its weights).
Sections, each of which needs what it has to and fails alone:

* runs: from the start of Python to the saved model, and once more with the
  folders of the first run;
* accuracy: of photos held out, a fifth, by each of 20 seeds; with Wilson's
  intervals of 95%, that of the mean as if all held-out photos were different
  ones. Seeds from 2000 on were not used to choose anything, but are splits of
  the same 200 photos, by which size and close-up were chosen: photos from
  elsewhere may do worse. Write `--first-seed 0` to try something;
* mislabelled: the labels of a tenth of the learned photos are wrong;
* feeding: 2,000 JPEGs of about 500 x 400 pixels, 5 epochs, against Keras;
* digits, clothes: `examples/image_classifier.py`; the clothes are those of
  Fashion-MNIST, from Keras's or Debian's folder, or downloaded by Keras;
* calibration: of digits held out, learned from scratch and fine-tuned; beside
  it, the error of so many answers that are as often right as they say;
* head: `fit_head` on random features.

Each measurement has a process of its own, and what is said of times is a
median. It is no test: on a busy machine, times vary. Takes an hour on two
cores; with `--quick`, in some minutes, only that all of it runs.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import traceback
from typing import NamedTuple

import numpy as np

from gdtrain import images
from tests.benchmarks import machine, photo_feeding, tables
from tests.benchmarks.processes import call

#: Where Debian's package dataset-fashion-mnist puts it
CLOTHES = "/usr/share/datasets/fashion-mnist"


class Row(NamedTuple):
    """A line of the table.

    Args:
        what: What was measured.
        wanted: What it should be; "" for what is only said.
        reached: What it is.
        is_reached: Whether that is what it should be; `None` if only said.
    """

    what: str
    wanted: str
    reached: str
    is_reached: bool | None = None

    def cells(self):
        """Texts to print."""
        answer = {True: "yes", False: "NO", None: ""}[self.is_reached]
        return [self.what, self.wanted, self.reached, answer]


def at_least(what, wanted, value, form, more=""):
    """A row of a number that should be large."""
    reached = form.format(value) + more
    return Row(what, f">= {form.format(wanted)}", reached, value >= wanted)


def at_most(what, wanted, value, form, more=""):
    """A row of a number that should be small."""
    reached = form.format(value) + more
    return Row(what, f"<= {form.format(wanted)}", reached, value <= wanted)


def say(text):
    """Says on standard error how far it is."""
    print(text, file=sys.stderr, flush=True)


def of_hot_dogs(given):
    """What all measurements of the hot dogs are called with."""
    return {"data": given.folder, "weights": given.weights}


def runs(given, folder):
    """From the folder to the saved model."""
    seconds = []
    for number in range(given.repeats):
        place = str(folder / f"run{number}")
        twice = [
            call("hot_dog.tune", **of_hot_dogs(given), folder=place).seconds
            for _ in range(2)
        ]
        seconds.append(twice)
        say(f"runs: {twice[0]:.1f} s, {twice[1]:.1f} s")
    first, second = np.median(seconds, axis=0)
    yield at_most("hot dogs, first run", 40, first, "{:.1f} s")
    yield at_most("hot dogs, second run", 8, second, "{:.1f} s")


def accuracy(given, folder):
    """Of held-out photos, with and without training of the backbone."""
    found = []
    for seed in range(given.first_seed, given.first_seed + given.splits):
        *counts, how = call(
            "hot_dog.split",
            **of_hot_dogs(given),
            folder=str(folder / "splits"),
            seed=seed,
        ).value
        found.append(counts)
        say(f"accuracy: seed {seed}, tuned, frozen, of: {counts}; {how}")
    tuned, frozen, of = np.transpose(found)
    low, high = images.wilson(int(tuned.sum()), int(of.sum()))
    mean = np.mean(tuned / of)
    interval = f" ({low:.3f} to {high:.3f})"
    yield at_least(
        f"hot dogs, mean of {len(of)} splits", 0.93, mean, "{:.3f}", interval
    )
    worst = int(np.argmin(tuned / of))
    low, high = images.wilson(int(tuned[worst]), int(of[worst]))
    interval = f" ({low:.3f} to {high:.3f})"
    least = tuned[worst] / of[worst]
    yield at_least("hot dogs, worst split", 0.85, least, "{:.3f}", interval)
    below, above = int(np.sum(tuned < frozen)), int(np.sum(tuned > frozen))
    yield at_most(
        "hot dogs, splits below frozen", 0, below, "{}", f" ({above} above)"
    )
    mean = np.mean(frozen / of)
    yield Row("hot dogs, frozen, mean", "", f"{mean:.3f}")


def mislabelled(given, folder):
    """Wrong labels among the most suspect."""
    found = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        counts = call(
            "hot_dog.mislabelled",
            **of_hot_dogs(given),
            folder=str(folder / "splits"),
            seed=seed,
        ).value
        found.append(counts)
        say(f"mislabelled: seed {seed}, {counts[0]} of {counts[1]}")
    yield at_least(
        "mislabelled, share found, worst",
        0.5,
        min(count / of for count, of in found),
        "{:.2f}",
        " (" + ", ".join(f"{count}/{of}" for count, of in found) + ")",
    )


def feeding(given, folder):
    """Photos a second, as ratios to Keras."""
    photos = folder / "photos"
    photo_feeding.draw(photos, given.photos)
    speeds = []
    for number in range(given.repeats):
        cache = {"XDG_CACHE_HOME": str(folder / f"cache{number}")}
        speeds.append(
            [
                call(
                    "photo_feeding.train",
                    cache,
                    way=way,
                    folder=str(photos),
                    epochs=given.feeding_epochs,
                ).value
                for way in photo_feeding.WAYS
            ]
        )
        say(f"feeding: {np.round(speeds[-1]).tolist()} photos a second")
    keras, ours, again = np.median(speeds, axis=0)
    for index, name, wanted in (1, "all epochs", 3), (0, "first epoch", 1):
        detail = f" ({ours[index]:,.0f} and {keras[index]:,.0f} a second)"
        ratio = ours[index] / keras[index]
        what = f"feeding, {name}, ratio to Keras"
        yield at_least(what, wanted, ratio, "{:.2f}", detail)
        ratio = again[index] / keras[index]
        yield Row(f"feeding again, {name}, ratio", "", f"{ratio:.2f}")


def learned(given, folder, data, seeds, environment=None):
    """Calls of the example: values of each seed, and median seconds."""
    calls = []
    for seed in range(seeds):
        calls.append(
            call(
                "from_scratch.learn",
                environment,
                folder=str(folder / data),
                data=data,
                seed=seed,
                epochs=given.epochs,
            )
        )
        accuracy, error, _ = calls[-1].value
        say(
            f"{data}: seed {seed}, {accuracy:.4f} right, calibration error "
            f"{error:.4f}, {calls[-1].seconds:.1f} s"
        )
    values = np.array([one.value for one in calls])
    return values, statistics.median(one.seconds for one in calls)


def digits(given, folder):
    """From scratch: accuracy, seconds, calibration."""
    values, seconds = learned(given, folder, "digits", given.seeds)
    yield at_least_median("digits", 0.975, values[:, 0])
    yield at_most("digits, with start of Python", 20, seconds, "{:.1f} s")
    yield calibrated("digits from scratch", values)


def clothes(given, folder):
    """Fashion-MNIST from scratch, for 10 epochs."""
    environment = None
    if pathlib.Path(given.clothes).is_dir():
        place = folder / "keras" / "datasets"
        place.mkdir(parents=True)
        source = pathlib.Path(given.clothes).resolve()
        (place / "fashion-mnist").symlink_to(source)
        environment = {"KERAS_HOME": str(place.parent)}
    values, seconds = learned(
        given, folder, "fashion_mnist", given.clothes_seeds, environment
    )
    yield at_least_median("Fashion-MNIST, 10 epochs", 0.925, values[:, 0])
    yield Row("Fashion-MNIST, time", "", f"{seconds:.0f} s")


def calibration(given, folder):
    """Of digits that were learned by fine-tuning."""
    values = []
    for seed in range(given.seeds):
        values.append(call("from_scratch.fine_tuned_digits", seed=seed).value)
        accuracy, error, by_chance = values[-1]
        say(
            f"calibration: seed {seed}, {accuracy:.4f} right, error "
            f"{error:.4f}, {by_chance:.4f} by chance"
        )
    yield calibrated("digits fine-tuned", np.array(values))


def at_least_median(what, wanted, values):
    """A row of the median of some seeds."""
    more = f" ({values.min():.4f} to {values.max():.4f})"
    what = f"{what}, median of {len(values)}"
    return at_least(what, wanted, np.median(values), "{:.4f}", more)


def calibrated(what, values):
    """A row of the expected calibration error of some seeds."""
    error, by_chance = np.median(values[:, 1:], axis=0)
    more = f" ({by_chance:.4f} by chance)"
    return at_most(f"calibration, {what}", 0.02, error, "{:.4f}", more)


def head(given, folder):
    """The head alone."""
    seconds = [call("from_scratch.head").value for _ in range(given.repeats)]
    median = statistics.median(seconds)
    yield at_most("head of 160 x 1,280", 3, median, "{:.2f} s")


SECTIONS = {
    section.__name__: section
    for section in (
        head,
        feeding,
        runs,
        mislabelled,
        digits,
        calibration,
        clothes,
        accuracy,
    )
}


def arguments(argv):
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("folder", nargs="?", help="with hotdog/ and not_hotdog/")
    add("--weights", help="of EfficientNet-Lite0; default: its package")
    add("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    add("--first-seed", type=int, default=2000, help="of splits")
    add("--splits", type=int, default=20)
    add("--seeds", type=int, default=5, help="of other medians")
    add("--repeats", type=int, default=3, help="of times")
    add("--clothes", default=CLOTHES, help="the folder of Fashion-MNIST")
    add("--clothes-seeds", type=int, default=1)
    add("--quick", action="store_true", help="only shows that it runs")
    given = parser.parse_args(argv)
    given.photos, given.feeding_epochs, given.epochs = 2000, 5, None
    if given.quick:
        given.splits = given.seeds = given.repeats = 1
        given.photos, given.feeding_epochs, given.epochs = 64, 2, 1
        given.first_seed = 0
    return given


def main(argv=None):
    """Prints the table; returns its rows."""
    given, rows = arguments(argv), []
    description = machine.describe()
    for name in given.only:
        say(f"{name} ...")
        try:
            with tempfile.TemporaryDirectory() as folder:
                for row in SECTIONS[name](given, pathlib.Path(folder)):
                    rows.append(row)
                    say("  ".join(row.cells()))
        except Exception as error:  # Other sections are measured all the same
            traceback.print_exc()
            rows.append(Row(name, "", f"failed: {error}", False))
    header = ["", "wanted", "reached", ""]
    tables.print_table([header, *(row.cells() for row in rows)])
    print(machine.summary(description))
    return rows


if __name__ == "__main__":
    main()
