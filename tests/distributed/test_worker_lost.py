"""What the workers of a cluster do when one of them is lost."""

import pickle
import re

import pytest
import tensorflow as tf

from gdtrain.common.explained import without_more
from gdtrain.distributed import worker_lost
from gdtrain.distributed.cluster import Cluster
from gdtrain.distributed.membership import Membership
from tests import waiting, workers

UNHEALTHY = (
    "Graph execution error:\n\nCollective ops is aborted by: Error reported "
    "from /job:worker/task:1: The following tasks are unhealthy (stopped "
    "sending heartbeats):\n/job:chief/replica:0/task:0\n"
    "/job:worker/replica:0/task:1\nThe tasks have crashed."
)
CLOSED = (
    "Collective ops is aborted by: Socket closed\nAdditional GRPC error "
    "information from remote target /job:worker/replica:0/task:0 while "
    "calling /tensorflow.WorkerService/RecvBuf:"
)
DEADLINE = "Collective ops is aborted by: Deadline Exceeded\nThe error could be"
REPORTED = "Collective ops is aborted by: Error: " + worker_lost.report_of(
    ["worker-2"], "it raised ValueError: of [its] own"
)


@pytest.mark.parametrize(
    "message, names, why",
    [
        (UNHEALTHY, ["chief-0", "worker-1"], "no heartbeat came"),
        (CLOSED, ["worker-0"], "connection was closed"),
        (REPORTED, ["worker-2"], "it raised ValueError: of \\[its\\) own"),
        (DEADLINE, ["chief-0"], "it answers no heartbeat"),
        ("Collective ops is aborted by: x.\nMore", [], "lost: x\\. Training"),
    ],
)
def test_errors_of_tensorflow_say_who_is_lost(message, names, why):
    error = tf.errors.UnavailableError(None, None, message)
    lost = worker_lost.from_error(error, "chief-0")
    assert lost.workers == names
    assert re.search(why, str(lost))
    again = pickle.loads(pickle.dumps(lost))
    assert (str(again), again.workers) == (str(lost), names)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CLOSED),
        tf.errors.InvalidArgumentError(None, None, "Incompatible shapes"),
    ],
)
def test_other_errors_are_no_loss(error):
    assert worker_lost.from_error(error, "worker-0") is None


def test_error_of_one_process_stays_as_it_is():
    error = tf.errors.UnavailableError(None, None, CLOSED)
    with pytest.raises(tf.errors.UnavailableError) as caught:
        with worker_lost.explained(tf.distribute.get_strategy()):
            raise error
    assert caught.value is error


def test_waiting_may_be_within_waiting():
    cluster = Cluster({"worker": ["a:1", "b:2"]}, "worker", 0)
    member = Membership(cluster, timeout=10)
    with member.waiting():
        since = member._waits_since
        with member.waiting():
            assert member._waits_since == since
        assert member._waits_since == since
    assert member._waits_since is None


def end_of(environments, *arguments):
    """Runs members to their ends; `(exit code, output, errors)` of each."""
    who = int(arguments[1])
    with workers.started(
        environments, "tests.distributed.member", *arguments
    ) as processes:
        # One that is stopped, or hangs, ends when the others have.
        order = [p for i, p in enumerate(processes) if i != who]
        found = {p: p.communicate(timeout=waiting.SECONDS) for p in order}
        if arguments[0] in ("is stopped", "hangs"):
            processes[who].kill()
        found[processes[who]] = processes[who].communicate(
            timeout=waiting.SECONDS
        )
    return [(p.returncode, *found[p]) for p in processes]


def assert_lost(end, who, why, frames=3):
    """A worker has ended with a `WorkerLost`, and shows little else."""
    code, _, errors = end
    assert code == 1, errors
    message, page = without_more(errors.strip())
    assert page.endswith(" worker-lost")
    last = message.splitlines()[-1]
    assert "retracing" not in errors
    assert re.search(f"WorkerLost: {who} was lost: .*{why}", last), errors
    assert errors.count("Traceback") == 1
    assert errors.count("  File ") <= 2 + frames  # Two are of `python -m`


@pytest.fixture(scope="module")
def slurm_ends():
    """Two processes as `srun` starts them, of which the second one raises."""
    return end_of(workers.slurm_environments(2), "raises", "1")


def test_processes_of_slurm_train_together(slurm_ends):
    for _, output, errors in slurm_ends:
        assert "member: has trained on 2" in output, errors


def test_first_worker_alone_shows_progress(slurm_ends):
    chief, other = (output for _, output, _ in slurm_ends)
    assert "Epoch 2/2" in chief and "loss" in chief
    assert [
        line for line in other.splitlines() if not line.startswith("member:")
    ] == []


def test_worker_that_raises_shows_its_own_error(slurm_ends):
    code, _, errors = slurm_ends[1]
    assert code == 1
    assert "ValueError: invalid literal for int()" in errors
    assert "WorkerLost" not in errors


def test_other_workers_show_why_one_was_lost(slurm_ends):
    assert_lost(slurm_ends[0], "worker-1", "it raised ValueError: invalid lit")


CLOSES = "connection was closed"
# One that receives from the lost worker at that time finds it closed.
HEARTBEAT = f"(no heartbeat|{CLOSES})"


@pytest.mark.parametrize(
    "event, who, why, code",
    [
        ("is killed", 1, HEARTBEAT, -9),
        *(
            pytest.param(*values, marks=pytest.mark.long)
            for values in [
                ("is killed", 0, CLOSES, -9),
                ("is terminated", 1, HEARTBEAT, -15),
                ("is terminated", 0, CLOSES, -15),
                ("is stopped", 1, HEARTBEAT, -9),
                ("is stopped", 0, "it answers no heartbeat", -9),
                ("exits", 1, "its program has ended", 3),
                ("exits", 0, "its program has ended", 3),
                ("hangs", 1, "waited for it for 6 sec.*`timeout`", -9),
                ("hangs", 0, "waited for it for 6 sec.*`timeout`", -9),
                ("raises", 0, "it raised ValueError", 1),
            ]
        ),
    ],
)
def test_loss_of_a_worker_ends_the_others(event, who, why, code):
    ends = end_of(workers.environments(2), event, str(who))
    assert ends[who][0] == code
    assert_lost(ends[1 - who], f"worker-{who}", why)


@pytest.mark.parametrize("who", [1, pytest.param(0, marks=pytest.mark.long)])
def test_the_first_to_end_puts_nobody_in_error(who):
    ends = end_of(workers.environments(2), "ends", str(who))
    assert [code for code, *_ in ends] == [0, 0], ends
    assert "member: saved" in ends[1 - who][1]


@pytest.mark.long
def test_loss_of_a_worker_ends_an_evaluation():
    ends = end_of(workers.environments(3), "is killed", "1", "evaluate")
    for end in ends[0], ends[2]:
        assert_lost(end, "worker-[01]", "")


@pytest.mark.long
@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize(
    "event, why",
    [
        ("is killed", HEARTBEAT),
        ("raises", "it raised ValueError"),
        ("exits", "its program has ended"),
        ("hangs", "waited for it for 6 sec.*`timeout`"),
    ],
)
def test_loss_of_a_worker_before_it_has_a_model_ends_the_others(
    event, why, who
):
    ends = end_of(workers.environments(2), event, str(who), "begin")
    # Outside of `fit`, frames of Keras are shown.
    assert_lost(ends[1 - who], f"worker-{who}", why, frames=15)
