"""Tables of what the benchmarks found, to print."""

import statistics

from tests.benchmarks import jobs, machine

WIDE = 1.2  # Times the least that the most is, so that both are shown
TITLES = {
    "keras": "Keras",
    "gdtrain": "gdtrain",
    "gdtrain_xla": "XLA asked for",
    "numpy": "NumPy",
    "torch": "PyTorch",
    "jax_step": "JAX",
}
NOISY = "~: the slowest repeat took over 1.5 times the fastest."


def print_table(rows):
    """Prints rows of texts: the first column to the left, others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += map(str.rjust, others, widths[1:])
        print("  ".join(cells))


def spread(values, form="{:.1f}"):
    """The median of some figures as text, with the least and the most."""
    of = [form.format(f(values)) for f in (statistics.median, min, max)]
    return f"{of[0]} ({of[1]} to {of[2]})"


def cost(peer):
    """Microseconds a step as text, marked if the repeats differ."""
    is_noisy = max(peer["repeats"]) > 1.5 * min(peer["repeats"])
    return "~" * is_noisy + f"{peer['microseconds_a_step']:,.1f}"


def figure(value):
    """Microseconds as text, with three digits or all before the point."""
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"


def with_spread(values):
    """The median of some figures as text, with their range if that is wide."""
    least, most = min(values), max(values)
    text = figure(statistics.median(values))
    if most <= WIDE * least:
        return text
    return f"{text} ({figure(least)} to {figure(most)})"


def print_speed(report):
    """Prints what `fit_speed` found, as the table of the README.

    Args:
        report: What it writes as JSON.
    """
    names = report["peers"]
    print("\n| | " + " | ".join(TITLES.get(n, n) for n in names) + " |")
    print("|---|" + "--:|" * len(names))
    for job, found in report["jobs"].items():
        cells = [
            with_spread(found[name]["processes"]) if name in found else "-"
            for name in names
        ]
        print(f"| {jobs.TITLES[job]} | " + " | ".join(cells) + " |")
    print(
        f"\nMicroseconds a step: median over {report['processes']} processes, "
        f"with the least and the most where they are {WIDE} times apart."
    )
    print(machine.summary(report))
    for name, reason in report["missing"].items():
        print(f"Left out: {name}, {reason}")
    if report["shorten"] > 1:
        print(f"Shortened: 1/{report['shorten']} of the epochs.")


def print_scaling(report):
    """Prints what `fit_scaling` found, a dict that it writes as JSON."""
    for by in ("examples", "steps"):
        print()
        rows = [[by, "steps timed", "epochs", "microseconds a step"]]
        for count, found in report[by].items():
            cells = (count, found["steps"], found["epochs"])
            rows.append([f"{cell:,}" for cell in cells] + [cost(found)])
        print_table(rows)
    peaks = {
        name: statistics.median(values)
        for name, values in report["memory_megabytes"].items()
    }
    ours, keras = (peaks[n] - peaks["data"] for n in ("gdtrain", "keras"))
    print(
        f"\nPeak memory: data and imports {peaks['data']:,.0f} MB; Keras's "
        f"fit {keras:,.0f} MB more, gdtrain's {ours:,.0f} MB more.\n"
        f"gdtrain: data + {ours / keras:.2f} x Keras's"
    )
    first = {
        name: statistics.median(values) * 1e3
        for name, values in report["first_fit_seconds"].items()
    }
    print(
        f"First fit, one step: Keras {first['keras']:.0f} ms, "
        f"gdtrain {first['gdtrain']:.0f} ms, "
        f"ratio {first['gdtrain'] / first['keras']:.2f}"
    )
    print(f"\n{NOISY}\n{machine.summary(report)}")
