"""What linear_regression.py prints: steps, lines, and the reason why."""

import math

from line_data import START, Line, curvature, distance

PRINT_EVERY_STEPS = 20


class Diverged(Exception):
    """The loss is no longer finite."""


def step_printer(data, title, last_step):
    """Makes an `after_step` that prints some steps; none without a title."""
    if title:
        print(f"\n{title}\n{'step':>6}{'loss':>14}{'w':>14}{'b':>14}")

    def after_step(step, loss, w, b):
        if not math.isfinite(loss):
            raise Diverged(f"Stopped: at step {step} the loss is {loss}.")
        if title and (step % PRINT_EVERY_STEPS == 0 or step == last_step):
            loss *= data.y_scale.spread**2
            w, b = data.unscaled(Line(w, b))
            print(
                f"{step:>6}"
                f"{decimal(loss, data.units.loss):>14}"
                f"{decimal(w, data.units.w):>14}"
                f"{decimal(b, data.units.b):>14}"
            )

    return after_step


def decimal(value, unit, more=0):
    """Writes a number with the decimals that matter at the size of `unit`."""
    decimals = 3 - math.floor(math.log10(unit)) + more
    if abs(value) > 1e7 * unit or decimals > 9:
        return f"{value:.3e}"
    return f"{value:z.{max(0, decimals)}f}"  # `z`: no negative zeros.


def print_data(data, rate):
    """Says what is fitted, and what learning rates it stands."""
    flat, steep = curvature(data.scaled[0])
    print(data.description)
    print(
        f"Curvature of the loss, flattest and steepest: {flat:.4g}, "
        f"{steep:.4g}.\nStable below a learning rate of 2 / {steep:.4g} = "
        f"{2 / steep:.4g}; this one is {rate:g}"
        f"{', too large' if rate >= 2 / steep else ''}."
    )


def print_lines(data, options, result):
    """Prints each line beside the exact one."""
    steps, rate = options.steps, options.learning_rate
    smaller = options.smaller_learning_rate
    rows = {
        "start": data.unscaled(START),
        f"{steps} steps by hand": result.by_hand,
        f"{steps} steps by fit": result.by_fit,
        f"{2 * steps} steps": result.longer,
        f"{3 * steps}, the last {steps} at {smaller:g}": result.smaller,
        f"{3 * steps}, all at {rate:g}": result.unchanged,
        "exact least squares": result.exact,
    }
    if data.truth:
        rows["true line"] = data.truth
    print("\n" + " " * 28, end="")
    print(f"{'w':>10}{'b':>10}{'w off by':>10}{'b off by':>10}{'distance':>10}")
    for name, line in rows.items():
        cells = (
            decimal(line.w, data.units.w),
            decimal(line.b, data.units.b),
            decimal(line.w - result.exact.w, data.units.w, 1),
            decimal(line.b - result.exact.b, data.units.b, 1),
            decimal(distance(line, result.exact, data.x), data.units.b, 2),
        )
        print(f"{name:28}" + "".join(f" {cell:>9}" for cell in cells))
    print(
        "Off by, distance: from the exact line. The distance is the root mean "
        "square,\nover the points, of the difference in y."
    )


def print_reason(data, options, result):
    """Says why a smaller learning rate helped, or did not."""
    flat, steep = curvature(data.scaled[0])
    rates = options.learning_rate, options.smaller_learning_rate
    print(
        "\nWhy: a step multiplies what is left by 1 - learning rate x "
        "curvature,\nalong the flattest and the steepest direction:"
    )
    for rate in rates:
        factors = f"{1 - rate * flat:+.3f} and {1 - rate * steep:+.3f}"
        print(f"  with learning rate {rate:<6g} by {factors}")
    smaller = distance(result.smaller, result.exact, data.x)
    unchanged = distance(result.unchanged, result.exact, data.x)
    factor = 1 - rates[0] * steep
    if factor < -1:
        print(
            f"With {rates[0]:g} it diverges: every step jumps across the "
            f"valley and lands {-factor:.3g} times\nas far from its bottom. "
            f"It shrinks below a learning rate of {2 / steep:.4g}: try\n"
            f"  --learning-rate {1 / steep:.2g}"
        )
    elif max(smaller, unchanged) < 1e-5 * data.units.b:
        print("Both have arrived, as far as the rounding of float32 allows.")
    elif smaller < unchanged:
        print(
            f"The smaller one got closer: with {rates[0]:g} every step jumps "
            "across the valley,\nand the next one back, so that w and b "
            "bounce; with the smaller one that ends.\n(Every "
            f"{PRINT_EVERY_STEPS}th step, as above, is on the same side.)"
        )
    else:
        print(
            "The smaller one got less far: each of its steps takes away less "
            "of what is left.\nIt helps only where the larger one bounces: "
            "where a factor is close to -1."
        )


def print_divergence(error, data, options):
    """Says why the loss became infinite."""
    rate, steep = options.learning_rate, curvature(data.scaled[0])[1]
    print(
        f"\n{error} The learning rate {rate:g} is too large:\na step "
        "multiplies what is left by 1 - learning rate x curvature, that is "
        f"{1 - rate * steep:.3g}\nalong the steepest direction. It shrinks "
        f"below a learning rate of {2 / steep:.4g}: try\n"
        f"  --learning-rate {1 / steep:.2g}"
    )
