"""What several workers cost, and what a lost one costs.

    python -m tests.benchmarks.distribution [--only overhead|traffic|restart]

- overhead: a step under the strategy of a group of one worker over a step
  without any strategy; processes by turns, the median of their ratios.
- traffic: bytes and seconds of a step of 25 million weights, on two workers
  over the loopback interface; and what follows from them, a projection, for
  more workers on other networks.
- restart: seconds from the kill of one of two workers to the next new step,
  and where they go; with all workers started again at once, and under Ray.

It is no test: on a busy machine the figures vary. Takes ten minutes on two
cores.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests import workers  # noqa: E402
from tests.benchmarks import machine, processes, tables  # noqa: E402

# Job, epochs of one training, wanted at most
_JOBS = [("digits_mlp", 60, 1.10), ("digits_cnn", 8, 1.05)]
_PROCESSES = 5  # Of each kind
_WEIGHTS = 25_000_000
_BATCH = 64  # Examples of each worker in a step of 25 million weights


def overhead():
    """Prints the time of a distributed step over that of a plain one."""
    rows = [["job", "plain, us", "one worker, us", "ratio", "wanted"]]
    for job, epochs, wanted in _JOBS:
        plain, distributed = [], []
        for _ in range(_PROCESSES):
            for found, is_distributed in ((plain, 0), (distributed, 1)):
                environment = workers.environments(1)[0]
                if not is_distributed:
                    environment.pop("TF_CONFIG")
                call = processes.call(
                    "worker.step_seconds",
                    environment,
                    job=job,
                    distributed=bool(is_distributed),
                    epochs=epochs,
                )
                found.append(call.value * 1e6)
        ratios = [b / a for a, b in zip(plain, distributed, strict=True)]
        median = statistics.median
        rows.append(
            [
                job,
                f"{median(plain):,.0f}",
                f"{median(distributed):,.0f}",
                f"{median(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f})",
                f"{wanted:.2f}",
            ]
        )
    tables.print_table(rows)


def together(function, count, **arguments):
    """Calls a function in each of some workers: `Call`s, or what was raised."""
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        calls = [
            threads.submit(processes.call, function, environment, **arguments)
            for environment in workers.environments(count)
        ]
        concurrent.futures.wait(calls)
    return [call.exception() or call.result() for call in calls]


def traffic(steps=20):
    """Prints bytes and seconds of a step, and a projection."""
    one = together("worker.traffic", 1, batch_size=_BATCH, steps=steps)
    two = together("worker.traffic", 2, batch_size=2 * _BATCH, steps=steps)
    for call in (*one, *two):
        if isinstance(call, BaseException):
            raise call
    alone = one[0].value["seconds"]
    seconds = max(call.value["seconds"] for call in two)
    sent = two[0].value["bytes"]  # By both workers
    print(f"{_WEIGHTS:,} weights, {_BATCH} examples a worker, float32")
    print(f"one worker: {alone * 1e3:.0f} ms a step")
    print(
        f"two workers on this machine: {seconds * 1e3:.0f} ms a step, of "
        f"which {1 - alone / seconds:.0%} for communication; "
        f"{sent / 2e6:.0f} MB sent by each ({sent / 2 / 4 / _WEIGHTS:.2f} "
        "times the weights; a ring of n workers needs 2 (n - 1) / n times)"
    )
    print(
        "\nProjection, not a measurement: efficiency if each worker computes "
        f"{alone * 1e3:.0f} ms a step as here, a ring sends 2 (n - 1) / n "
        "times the weights at full bandwidth, and nothing of it overlaps"
    )
    rows = [["workers", "10 Gbit/s", "100 Gbit/s"]]
    for count in (8, 64, 512):
        each = 2 * (count - 1) / count * 4 * _WEIGHTS
        rows.append(
            [str(count)]
            + [
                f"{alone / (alone + each / (bits / 8)):.0%}"
                for bits in (10e9, 100e9)
            ]
        )
    tables.print_table(rows)


def _notes(folder):
    """What each worker noted, in order of time: `(seconds, worker, what)`."""
    found = []
    for path in pathlib.Path(folder).glob("notes-*.jsonl"):
        for line in path.read_text().splitlines():
            seconds, what = json.loads(line)
            found.append((seconds, path.stem, what))
    return sorted(found)


def _by_hand(folder, victim):
    """Starts two workers again until they end; returns when they had ended."""
    ended = []
    for _ in range(3):
        calls = together("worker.restarted", 2, folder=folder, victim=victim)
        ended.append(time.time())
        if not any(isinstance(call, BaseException) for call in calls):
            return ended
    raise RuntimeError("The workers do not end.")


def _by_ray(folder, victim):
    """The same under Ray Train."""
    import ray
    import ray.train
    from ray.train import tensorflow

    def work(config):
        import gdtrain
        from tests.benchmarks import worker

        report = gdtrain.callbacks.RayReport(every_steps=10)
        worker.restarted(folder, victim, report)

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={
            "env_vars": {
                "PYTHONPATH": os.getcwd(),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            }
        },
    )
    tensorflow.TensorflowTrainer(
        work,
        scaling_config=ray.train.ScalingConfig(num_workers=2),
        run_config=ray.train.RunConfig(
            storage_path=folder,
            failure_config=ray.train.FailureConfig(max_failures=3),
        ),
    ).fit()
    ray.shutdown()
    return []


def restart():
    """Prints how long it takes from a kill to the next new step."""
    rows = [
        ["", "all ended", "strategies made", "first new step", "together, s"]
    ]
    for name, run in (("by hand", _by_hand), ("Ray Train", _by_ray)):
        for victim, who in ((1, "worker 1"), (0, "chief")):
            with tempfile.TemporaryDirectory() as folder:
                ended = run(folder, victim)
                notes = _notes(folder)
            killed = next(at for at, _, what in notes if what == "killed")
            before = max(
                int(what.split()[1])
                for at, _, what in notes
                if what.startswith("step") and at <= killed
            )
            after = [(at, what) for at, _, what in notes if at > killed]
            made = max(at for at, what in after if what == "strategy")
            new = next(
                at
                for at, what in after
                if what.startswith("step") and int(what.split()[1]) > before
            )
            noticed = ended[0] - killed if ended else None
            rows.append(
                [
                    f"{name}, {who} killed",
                    "-" if noticed is None else f"{noticed:.1f}",
                    f"{made - killed - (noticed or 0):.1f}",
                    f"{new - made:.1f}",
                    f"{new - killed:.1f}",
                ]
            )
    tables.print_table(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"overhead": overhead, "traffic": traffic, "restart": restart}
    parser.add_argument("--only", choices=parts, help="what to measure")
    options = parser.parse_args()
    print(machine.summary(machine.describe()))
    for name, measure in parts.items():
        if options.only in (None, name):
            print(f"\n{name}\n", flush=True)
            measure()


if __name__ == "__main__":
    main()
