"""The study of ParaRNN: its claims as written, and each experiment in its smallest form beside its negative control."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench import rnn, studies
from workbench.data import published
from workbench.studies import _pararnn_convergence as convergence
from workbench.studies import _pararnn_lm as lm
from workbench.studies import _pararnn_newton as newton
from workbench.studies import _pararnn_sweep as sweep
from workbench.studies import _pararnn_tasks as tasks
from workbench.studies import pararnn
from workbench.study import KINDS, Outcome, load_claims, verdict

TOML = studies.path("pararnn")
SMALL = pararnn.Config(
    seeds=(0, 1),
    hidden_dim=16,
    batch=2,
    lengths=(32, 64),
    newton_steps=6,
    jacobi_steps=64,
    gradient_length=32,
    speed_length=8,
    speed_dim=4,
    speed_repeats=2,
    task_steps=50,
    budget=lm.Budget(layers=1, hidden_dim=16, batch=2, length=16, steps=10),
    networks=sweep.Sweep(dim=4, lengths=(8, 16, 32), gains=(0.3, 0.6, 3.0), seeds=(0, 1)),
)


class Log:
    """A log in memory."""

    def __init__(self, folder=None):
        self.rows, self.progressed, self._folder = [], [], folder

    def folder(self, name):
        return self._folder and self._folder / name

    def log(self, step=None, **metrics):
        assert all(isinstance(value, float) for value in metrics.values())
        self.rows.append((step, metrics))

    def progress(self, done, total, what=""):
        self.progressed.append(done / total)

    def curve(self, name):
        return [metrics[name] for _, metrics in sorted(self.rows, key=lambda row: row[0]) if name in metrics]


@pytest.fixture(scope="module")
def claims():
    return {claim.key: claim for claim in load_claims(TOML)[1]}


@pytest.fixture(scope="module")
def log():
    return Log()


@pytest.fixture(scope="module")
def histories(log):
    x = newton.inputs(SMALL.batch, max(SMALL.lengths), SMALL.hidden_dim, seed=0)
    return dict.fromkeys(
        pararnn.CELLS, convergence.iterations(SMALL, log, "ParaGRU", x)
    )  # one cell compiles in half the time


@pytest.fixture(scope="module")
def exact(log):
    x = newton.inputs(SMALL.batch, max(SMALL.lengths), SMALL.hidden_dim, seed=0)
    return convergence.exactness(SMALL, log, "ParaGRU", x)


@pytest.fixture(scope="module")
def learned():
    """Two seeds of both twins on parity of 8 bits, the nonlinear one until it is learned."""
    seen = []
    setting = tasks.Setting(tasks.tasks.Parity(), 8, 400, batch=16, hidden_dim=16, learning_rate=1e-2)
    with jax.enable_x64(False):
        found = {
            model: tasks.learn(setting, tasks.MODELS[model], SMALL.seeds, lambda step, a: seen.append((step, a)))
            for model in ("ParaGRU", "linear GRU")
        }
    return found, seen


@pytest.fixture(scope="module")
def outcomes(log, histories, exact, learned):
    """One outcome for each claim that is about ParaGRU, or about both cells."""
    return {
        **pararnn.tokens(),
        **convergence.structure(SMALL),
        **convergence.iteration_claims(SMALL, histories),
        **exact,
        **tasks.claims({tasks.PARITY: learned[0]}),
        **pararnn.speed_up(SMALL, log, "ParaGRU"),
    }


def test_the_figures_of_the_paper_are_listed(claims):
    assert len(claims) >= 60
    assert {"speedup.abstract", "speedup.loop.paralstm", "lm.7b.mamba2.perplexity", "downstream.arc-c.paragru"} <= set(
        claims
    )
    table = published("pararnn-language-models")
    listed = [c for key, c in claims.items() if re.fullmatch(r"lm\..*\.perplexity", key)]
    assert sorted(c.published.value for c in listed) == sorted(table["perplexity"].to_list())
    assert not any(c.verified for key, c in claims.items() if key.startswith("state-tracking."))


def test_every_row_says_why(claims):
    for claim in claims.values():
        if not claim.tested:
            assert claim.not_testable.startswith("needs "), claim.key
        elif claim.check.kind not in ("exact", "ordering"):
            assert len(claim.tolerance.reason) > 20, claim.key
        if claim.tested and not KINDS[claim.check.kind].identity:
            assert claim.scope, claim.key
            assert not claim.same_scale, f"{claim.key}: nothing here runs at the published scale"


def test_each_control_differs_and_the_identities_hold_at_any_size(claims, outcomes):
    assert set(outcomes) <= {key for key, claim in claims.items() if claim.tested}
    judged = {key: verdict(claims[key], outcome) for key, outcome in outcomes.items()}
    for key, judgement in judged.items():
        assert judgement.control is not None, key
        assert judgement.estimate is not None, key
        assert judgement.control.value != judgement.estimate.value, key
    identities = [key for key in outcomes if KINDS[claims[key].check.kind].identity]
    assert set(identities) == {"structure.paragru", "structure.paralstm", "states.paragru", "gradients.paragru"}
    assert {judged[key].verdict for key in identities} == {"reproduced"}


def test_a_run_answers_every_tested_claim(claims, monkeypatch, histories, exact, learned):
    def renamed(outcomes, name):
        return {key.replace("paragru", name.lower()): outcome for key, outcome in outcomes.items()}

    clock = dict.fromkeys(("speedup.loop.paragru", "speedup.scan.paragru"), Outcome(2.0, control=1.0))
    bits = lm.Compared(np.array([3.0, 3.1]), np.array([8.0, 8.1]), 1000, None)
    monkeypatch.setattr(convergence, "iterations", lambda config, log, name, x: histories[name])
    monkeypatch.setattr(convergence, "exactness", lambda config, log, name, x: renamed(exact, name))
    monkeypatch.setattr(pararnn, "learn", lambda config, log, task, model: learned[0]["ParaGRU"])
    monkeypatch.setattr(pararnn, "train", lambda config, log, model: bits)
    monkeypatch.setattr(pararnn, "train_with", lambda config, log, iterations: bits)
    monkeypatch.setattr(lm, "iterations_when_trained", lambda compared, budget: (np.array([3.0]), np.array([50.0])))
    monkeypatch.setattr(pararnn, "speed_up", lambda config, log, name: renamed(clock, name))
    log = Log()
    everything = replace(SMALL, tasks=pararnn.PRESETS["full"].tasks)
    assert set(pararnn.run(everything, log)) == {key for key, claim in claims.items() if claim.tested}
    assert log.progressed == sorted(log.progressed)
    assert log.progressed[-1] == 1
    log = Log()
    quick = set(pararnn.run(replace(SMALL, budget=None), log))
    assert quick == {key for key, claim in claims.items() if claim.tested and claim.preset == "quick"}


def test_what_is_not_reached_or_gets_worse_is_told():
    stuck = {"residual": {32: np.array([1.0, 2.0]), 64: np.array([1.0, 3.0])}}
    stuck["residual-jacobi"] = stuck["residual"]
    outcomes = convergence.iteration_claims(SMALL, dict.fromkeys(pararnn.CELLS, stuck))
    assert outcomes["iterations.worst"].value == float("inf")
    assert outcomes["residual.first-iteration.paralstm"].value == 3.0


def test_the_loop_against_itself_is_the_control_of_speed(log, outcomes):
    loop, scan = outcomes["speedup.loop.paragru"], outcomes["speedup.scan.paragru"]
    assert loop.value.shape == scan.value.shape == (SMALL.speed_repeats,)
    assert np.prod(loop.control) == pytest.approx(1.0)
    assert log.curve("seconds/newton/paragru")[0] < log.curve("first-call-s/newton/paragru")[0]


def test_residuals_are_logged_by_solver_length_and_iteration(log, histories, exact):
    ours, jacobi = log.curve("residual/paragru/64"), log.curve("residual-jacobi/paragru/64")
    assert len(ours) == SMALL.newton_steps + 1
    assert len(jacobi) == SMALL.jacobi_steps + 1
    assert ours[0] == pytest.approx(jacobi[0])
    assert ours[4] < 1e-5 < jacobi[4]
    assert all(short <= long for short, long in zip(log.curve("residual/paragru/32"), ours, strict=True))
    errors = log.curve("gradient-error/paragru")
    assert errors[1] > 1e-3 > errors[4]


@pytest.fixture(scope="module")
def problem():
    cell = newton.cell_named("ParaGRU", SMALL.hidden_dim)
    x = newton.inputs(SMALL.batch, max(SMALL.lengths), SMALL.hidden_dim, seed=0)
    return cell, newton.problem(cell, x, jnp.float32, 0, h0_scale=0.5)


def test_stepping_by_hand_is_what_the_driver_does(problem):
    cell, arguments = problem
    residual, _ = newton.trace(cell, rnn.Newton(), SMALL.newton_steps, 0, *arguments)
    solver = rnn.Newton(steps=SMALL.newton_steps)
    result = rnn.solve(cell, *arguments, solver=solver, scan=newton.SCAN, on_failure="return")
    np.testing.assert_allclose(np.asarray(residual).max(1), result.stats.history.max(0), rtol=1e-3, atol=1e-6)


def test_the_longest_prefix_holds_the_shorter_ones(problem):
    cell, (params, x, h0) = problem
    long, _ = newton.trace(cell, rnn.Jacobi(), SMALL.jacobi_steps, 0, params, x, h0)
    short, _ = newton.trace(cell, rnn.Jacobi(), SMALL.jacobi_steps, 0, params, x[:, :32], h0)
    np.testing.assert_allclose(newton.by_length(long, (32,))[32], np.asarray(short).max(1), rtol=1e-5, atol=1e-7)


def test_iterations_that_are_never_reached_are_infinite():
    assert newton.iterations_to(np.array([1.0, 0.1, 0.01]), 0.1) == 1
    assert newton.iterations_to(np.array([1.0, 0.1, 0.01]), 1e-3) == float("inf")


def test_a_short_parity_is_learned_by_the_nonlinear_twin_alone(learned):
    found, seen = learned
    assert found["ParaGRU"].accuracy.tolist() == [100.0, 100.0]
    assert found["linear GRU"].accuracy.max() < 90.0
    assert found["ParaGRU"].steps < 400 == found["linear GRU"].steps
    assert max(found["ParaGRU"].control) < 75
    assert seen[0][0] == 50


def test_each_printed_cell_of_the_tables_is_answered_once(claims):
    table = {task: {model: tasks.keys(task, model) for model in tasks.MODELS} for task in tasks.SETTINGS}
    answered = [key for by_model in table.values() for keys in by_model.values() for key in keys]
    assert len(answered) == len(set(answered))
    printed = {
        key for key in claims if key.startswith(("synthetic.", "state-tracking.")) and not key.endswith(".order")
    }
    assert set(answered) == printed


def test_a_model_of_bytes_learns_something_and_goes_on_where_it_was_stopped(tmp_path):
    log = Log(tmp_path)
    with jax.enable_x64(False):
        budget = replace(SMALL.budget, steps=40, learning_rate=2e-2)
        first = lm.train(budget, lm.MIXERS["linear GRU"], (0,), log, "bytes/linear-gru")
        assert first.bits[0] < min(first.control[0], 8)
        again = lm.train(budget, lm.MIXERS["linear GRU"], (0,), Log(tmp_path), "bytes/linear-gru")
    assert again.bits.tolist() == first.bits.tolist()
    losses = log.curve("bytes/linear-gru/loss/0")
    assert len(losses) == 4
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("iterations.init.paralstm", "published = [3, 4]\n", "published = [8, 9]\n"),
        ("states.paragru", "abs = 1e-12", "abs = 1e-30"),
        ("lm.400m.tokens", "abs = 0.05", "abs = 1e-6"),
    ],
)
def test_another_published_figure_or_tolerance_turns_the_verdict(tmp_path, claims, outcomes, key, before, after):
    text = TOML.read_text(encoding="utf-8")
    assert before in text
    folder = tmp_path / "workbench" / "studies"
    folder.mkdir(parents=True)
    (folder / TOML.name).write_text(text.replace(before, after), encoding="utf-8")
    (tmp_path / "workbench" / "data").symlink_to(TOML.parents[1] / "data")
    changed = {claim.key: claim for claim in load_claims(folder / TOML.name)[1]}[key]
    good = {"reproduced", "supported", "modelled"}
    assert verdict(claims[key], outcomes[key]).verdict in good
    assert verdict(changed, outcomes[key]).verdict not in good
    assert changed.hash != claims[key].hash


def test_the_presets_differ_in_scale_and_share_their_seeds():
    quick, full = pararnn.PRESETS["quick"], pararnn.PRESETS["full"]
    assert quick.seeds == full.seeds == (0, 1, 2, 3, 4)
    assert replace(full, tasks=quick.tasks, budget=None, networks=quick.networks, speed_repeats=5) == quick
    assert dict(quick.tasks).keys() <= dict(full.tasks).keys()
    assert Path(TOML).with_suffix(".py").exists()
