"""Tables of what the benchmarks found, to print."""

import statistics

from tests.benchmarks import machine

NOISY = "~: the slowest repeat took over 1.5 times the fastest."


def print_table(rows):
    """Prints rows of texts: the first column to the left, others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += map(str.rjust, others, widths[1:])
        print("  ".join(cells))


def ratio(peers, one, other):
    """Median over repeats of the ratio of two peers, as text."""
    if one not in peers or other not in peers:
        return "-"
    pairs = zip(peers[one]["repeats"], peers[other]["repeats"], strict=True)
    return f"{statistics.median(a / b for a, b in pairs):.4f}"


def cost(peer):
    """Microseconds a step as text, marked if the repeats differ."""
    is_noisy = max(peer["repeats"]) > 1.5 * min(peer["repeats"])
    return "~" * is_noisy + f"{peer['microseconds_a_step']:,.1f}"


def after_first(peer):
    """Seconds that the first call took longer than the median one."""
    median = peer["microseconds_a_step"] * peer["steps"] / 1e6
    return f"{peer['first_call_seconds'] - median:.2f}"


def print_speed(report, names):
    """Prints what `fit_speed` found.

    Args:
        report: What it writes as JSON.
        names: The peers, in the order of the columns.
    """

    def table(title, cell, with_ratio=False):
        """Prints what `cell` says of each peer at each job."""
        print(f"\n{title}\n")
        rows = [["job", *names] + ["gdtrain:keras"] * with_ratio]
        for job, peers in report["jobs"].items():
            row = [cell(peers[n]) if n in peers else "-" for n in names]
            row += [ratio(peers, "gdtrain", "keras")] * with_ratio
            rows.append([job, *row])
        print_table(rows)

    repeats = report["repeats"]
    table(f"Microseconds a step, median of {repeats}:", cost, True)
    table("Seconds that the first call took longer than that:", after_first)
    print(f"\n{NOISY}")
    print("gdtrain:keras: the median, over the repeats, of their ratio.")
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
