"""Microseconds a step of gdtrain and its peers: the table of the README.

    python -m tests.benchmarks.fit_speed [--processes 5] [--repeats 3]
        [--jobs line,...] [--peers keras,gdtrain,...] [--json PATH]
        [--shorten N]

Each peer trains in a process of its own, which is started `processes` times,
those of all peers in turn, so that all of them meet the same machine. A process
trains for each job once to warm up and then `repeats` times; its figure is the
median of these. The table has the median over processes, with the least and the
most where they differ much. Each training starts from the same weights, and its
losses must be those of the other peers. It is no test: on a busy machine the
figures vary, the ratios less. Takes some 10 minutes on two cores.

A peer is in a module `peers_*.py` with `prepare(name, job, shorten)`, which
returns `None` if the peer leaves the job out, or an object: `reset()` goes
back to the first weights, `run()` trains for `epochs` epochs, and `losses()`
tells the loss of each epoch or step. Only `run()` is timed.
"""

import argparse
import json
import statistics
import sys
import time

from tests.benchmarks import jobs, machine, processes, rounds, tables

#: Microseconds a step beyond which one process is enough
_ENDLESS = 500_000


def measure(peers, names, options, report):
    """Adds to `report` what peers need for jobs, by name."""
    figures = {job: {peer: [] for peer in peers} for job in names}
    for number in range(options.processes):
        losses = {job: {} for job in names}
        for peer in [one for one in peers if one not in report["missing"]]:
            left = [
                job
                for job in names
                if max(figures[job][peer], default=0) < _ENDLESS
            ]
            start = time.perf_counter()
            found = processes.call(
                "rounds.measure",
                peer=peer,
                names=left,
                repeats=options.repeats,
                shorten=options.shorten,
            ).value
            if isinstance(found, str):
                report["missing"][peer] = found
                continue
            for job, one in found.items():
                if one is not None:
                    figures[job][peer].append(one["microseconds_a_step"])
                    losses[job][peer] = one.pop("losses")
            seconds = time.perf_counter() - start
            print(f"{number + 1}: {peer}, {seconds:.0f} s", file=sys.stderr)
        for job in names:
            rounds.check(jobs.make(job), losses[job])
    report["jobs"] = {
        job: {
            peer: {
                "processes": values,
                "microseconds_a_step": statistics.median(values),
            }
            for peer, values in by_peer.items()
            if values
        }
        for job, by_peer in figures.items()
    }


def names(allowed):
    """A type of `argparse`: names separated by commas."""

    def parse(text):
        for name in text.split(","):
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name} is not in {allowed}")
        return text.split(",")

    return parse


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=names(jobs.NAMES), default=jobs.NAMES)
    parser.add_argument(
        "--peers", type=names(list(rounds.PEERS)), default=list(tables.TITLES)
    )
    parser.add_argument("--json", help="where to write all figures")
    parser.add_argument(
        "--shorten", type=int, default=1, help="divides the number of epochs"
    )
    options = parser.parse_args()
    report = machine.describe() | {
        "processes": options.processes,
        "repeats": options.repeats,
        "shorten": options.shorten,
        "peers": options.peers,
        "missing": {},
    }
    measure(options.peers, options.jobs, options, report)
    tables.print_speed(report)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
