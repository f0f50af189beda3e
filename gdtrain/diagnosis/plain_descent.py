"""Whether the updates are those of plain descent, from the numbers alone."""

import numpy as np

CLOSE = 0.01  # Norms are float32, and weights move little against their length
FAR = 1e3  # Times the weights: after such an update, they are the update


def step_multiple(run):
    """By how many times a step is longer than plain descent's.

        multiple = norm(update) / (learning_rate * norm(gradient))

    1 for plain descent, unless clipped; for heavy ball 1 / (1 - momentum) on
    a slope; anything for optimizers that scale their steps.

    Args:
        run: A `Run`.

    Returns:
        The median and the largest relative deviation from it that a tenth
        of the measurements exceed; `None` if it cannot be known.
    """
    rates = run.get("learning_rate")
    gradients, ratios = run.layers("gradient_norm"), run.layers("update_ratio")
    weights = run.layers("weight_norm")
    shared = [name for name in ratios if name in weights and name in gradients]
    if rates is None or not shared:
        return None
    follows = np.diff(run.steps) == 1
    found = []
    for name in shared:
        # The length after a step is the one before the next.
        with np.errstate(all="ignore"):
            moved = ratios[name][1:] * weights[name][:-1]
            plain = rates[1:] * gradients[name][1:]
            found.append((moved / plain)[follows])
            if ratios[name][0] > FAR:  # Infinite if the weights were 0
                first = rates[:1] * gradients[name][:1]
                found.append(weights[name][:1] / first)
    multiples = np.concatenate(found)
    multiples = multiples[np.isfinite(multiples) & (multiples > 0)]
    if not len(multiples):
        return None
    middle = float(np.median(multiples))
    deviation = np.quantile(np.abs(multiples / middle - 1), 0.9)
    return middle, float(deviation)


def is_plain(run):
    """Whether it is plain descent; `None` if that cannot be known."""
    found = step_multiple(run)
    if found is None:
        return None
    return abs(found[0] - 1) < CLOSE and found[1] < 0.1
