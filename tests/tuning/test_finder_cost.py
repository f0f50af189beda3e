"""A range test makes fewer steps than two epochs have: they take longer."""

import pytest

import gdtrain
from gdtrain.tuning import learning_rate_finder, range_test
from tests.benchmarks import jobs, peers_keras

NETWORKS = ["digits_mlp", "digits_cnn"]


@pytest.fixture
def counts(monkeypatch):
    """How many updates, steps and blocks the next range test makes."""
    counts = {"updates": 0, "steps": 0, "blocks": 0}
    run, on_block = range_test.run, range_test.Recorder.on_block

    def counted_run(model, *args, **arguments):
        hooks, optimizer = model._step_hooks, model.optimizer
        before = int(optimizer.iterations), hooks.steps_done
        test = run(model, *args, **arguments)
        counts["updates"] = int(optimizer.iterations) - before[0]
        counts["steps"] = hooks.steps_done - before[1]
        return test

    def counted_block(self, table):
        counts["blocks"] += 1
        on_block(self, table)

    monkeypatch.setattr(learning_rate_finder.range_test, "run", counted_run)
    monkeypatch.setattr(range_test.Recorder, "on_block", counted_block)
    return counts


@pytest.mark.mostly_long("highest0-digits_cnn", "highest1-digits_mlp")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("highest", [{}, {"max_learning_rate": 1e-6}])
def test_default_test_is_within_two_epochs_of_digits(name, highest, counts):
    job = jobs.make(name)
    most = int(1.8 * -(-len(job.x) // job.batch_size))
    model = peers_keras.model(gdtrain.Sequential, job)
    found = gdtrain.find_learning_rate(
        model, job.x, job.y, batch_size=job.batch_size, verbose=0, **highest
    )
    assert counts["updates"] == counts["steps"] <= most
    if highest:  # Which moves nothing: it is seen to the end.
        assert len(found.losses) == counts["steps"] == most
    else:
        assert most / 2 < len(found.losses) <= counts["steps"]
    assert counts["blocks"] < counts["steps"] / 3  # Rates rise within blocks.
