"""Pictures of what an image classifier gets right and wrong."""

import numpy as np
from matplotlib.figure import Figure

SAMPLE_ROWS, MISTAKE_ROWS, COLUMNS = 3, 1, 8


def draw_predictions(path, pictures, probabilities, class_names, seed):
    """Draws pictures with what they were taken for, mistakes in red.

    A random sample, and the mistakes that were made with most confidence.

    Args:
        path: The file to write.
        pictures: `image_data.Pictures`, n of them.
        probabilities: Array `[n, classes]`.
        class_names: A list of strings.
        seed: Draws the sample.
    """
    groups = choose(pictures.labels, probabilities, seed)
    rows = [-(-len(chosen) // COLUMNS) for chosen in groups.values()]
    heights = [0.4 + 1.8 * count for count in rows]  # Inches, with a title.
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(rows), height_ratios=heights, squeeze=False)
    for (title, chosen), part, count in zip(groups.items(), parts.flat, rows):
        part.suptitle(title, fontsize=12, fontweight="bold")
        grid = part.subplots(count, COLUMNS, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, i in zip(grid.flat, chosen):
            draw_picture(axes, pictures.images[i])
            write_title(axes, pictures.labels[i], probabilities[i], class_names)
    figure.savefig(path, dpi=150)


def choose(labels, probabilities, seed):
    """Chooses the pictures to draw: a dict from a title to positions."""
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    order = np.random.default_rng(seed).permutation(len(labels))
    sample = order[: SAMPLE_ROWS * COLUMNS]
    groups = {f"{len(sample)} of the {len(labels):,} held out": sample}
    wrong = np.flatnonzero(predicted != labels)
    if len(wrong):
        surest = wrong[np.argsort(-confidence[wrong], kind="stable")]
        title = f"The most confident of {len(wrong):,} mistakes"
        groups[title] = surest[: MISTAKE_ROWS * COLUMNS]
    return groups


def draw_picture(axes, image):
    """Draws one picture, uint8 `[height, width, channels]`."""
    grey = image.shape[-1] == 1
    axes.imshow(image.squeeze(-1) if grey else image, "gray", vmin=0, vmax=255)


def write_title(axes, label, probabilities, class_names):
    """Writes above a picture what it was taken for."""
    predicted = probabilities.argmax()
    title = f"{class_names[predicted]} ({probabilities[predicted]:.2f})"
    if predicted == label:
        axes.set_title(title, fontsize=9)
    else:
        title += f"\nis {class_names[label]}"
        axes.set_title(title, fontsize=9, color="tab:red")


def draw_confusion(path, labels, probabilities, class_names):
    """Draws how many pictures of each class were taken for which.

    Args:
        path: The file to write.
        labels: The classes of the pictures, int `[n]`.
        probabilities: Array `[n, classes]`.
        class_names: A list of strings.
    """
    table = confusion(labels, probabilities)
    size = min(3 + 0.45 * len(table), 20)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(shares, "Blues", vmin=0, vmax=1)
    positions = range(len(table))
    axes.set_xticks(positions, class_names)
    if max(map(len, class_names)) > 3:
        axes.tick_params(axis="x", rotation=90)
    axes.set_yticks(positions, class_names)
    axes.set(xlabel="taken for", ylabel="is")
    axes.set_title(f"{np.trace(table):,} of {len(labels):,} held out are right")
    if len(table) <= 30:  # More could not be read.
        for row, column in np.argwhere(table):
            color = "white" if shares[row, column] > 0.5 else "black"
            text = f"{table[row, column]:,}"
            axes.text(column, row, text, ha="center", va="center", color=color)
    figure.savefig(path, dpi=150)


def confusion(labels, probabilities):
    """Counts the pictures of each class (rows) taken for each (columns)."""
    table = np.zeros([probabilities.shape[1]] * 2, int)
    np.add.at(table, (labels, probabilities.argmax(1)), 1)
    return table
