"""`Auto` chooses by what was measured, says why, never fails where `Sequential` would not, and never compiles twice."""

import json

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import close

from workbench import hardware, rnn
from workbench.rnn import _auto, _calibration, _facts
from workbench.rnn._auto import Question, choose

STEP = lambda h, x, a: jnp.tanh(a * h + x)
LOGISTIC = lambda h, x, r: r * h * (1 - h) + 0 * x


@pytest.fixture(autouse=True)
def no_calibration(tmp_path, monkeypatch):
    """Whatever the user of this machine has measured does not decide how these tests end."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    _facts.forget()
    yield
    _facts.forget()


def made_up(here=True, **ratios):
    """Facts in which every way takes as long as lax.scan, but for `way=ratio` (with _ for -)."""
    seconds = dict.fromkeys(_facts.names(accelerator=True), 1.0)
    for key in seconds:
        seconds[key] *= 2.0 if "-gradient/" in key else 1.0  # forward and backward take twice the forward pass
        way = key.split("/")[1].replace("-", "_")
        if way in ratios:
            seconds[key] *= ratios[way]
    return _facts.Facts("made up", here, seconds)


def ask(family="diagonal", steps=16384, lanes=16, batched=False, max_steps=None, block=1):
    return Question(family, steps, lanes, batched, max_steps, block)


def known(monkeypatch, facts):
    monkeypatch.setattr(_auto, "facts", lambda: facts)


def test_nothing_faster_means_lax_scan_and_its_gradient():
    chosen = choose(ask(), None, made_up(newton_two_level=3.0, newton_associative=3.0))
    assert chosen.solver == rnn.Sequential("bptt")
    assert "nothing beats lax.scan at 16384 x 16, made up" in repr(chosen)


def test_the_faster_gradient_is_chosen():
    slow = {"newton_two_level": 9.0, "newton_associative": 9.0}
    chosen = choose(ask(), None, made_up(serial_gradient=0.6, two_level_gradient=0.4, **slow))
    assert (chosen.solver, chosen.scan) == (rnn.Sequential(), rnn.TwoLevel())
    assert repr(chosen) == (
        "Auto -> Sequential(), TwoLevel(): 16384 steps x 16 lanes; "
        "1x of lax.scan forward, 0.4x with gradients, at 16384 x 16, made up"
    )
    chosen = choose(ask(), None, made_up(serial_gradient=0.4, two_level_gradient=0.6, **slow))
    assert chosen.scan == rnn.Serial()


def test_figures_of_another_machine_must_promise_more():
    facts = {"serial_gradient": 0.8, "newton_two_level": 9.0, "newton_associative": 9.0}
    assert choose(ask(), None, made_up(here=True, **facts)).solver == rnn.Sequential()
    assert choose(ask(), None, made_up(here=False, **facts)).solver == rnn.Sequential("bptt")


def test_a_warm_start_for_few_lanes_and_many_steps_only():
    facts = made_up(warm_16=0.3, warm_32=0.25, newton_two_level=9.0, newton_associative=9.0)
    best = choose(ask(steps=131072, lanes=1), None, facts)
    assert best.solver == rnn.WarmStart(32, 64, guard=True, patience=None)
    assert "WarmStart(chunks=32, guard=True, patience=None)" in repr(best)
    assert "0.25x of lax.scan forward" in best.why
    for question in (
        ask(steps=131072, lanes=64),
        ask(steps=1024, lanes=1),
        ask(steps=131072, lanes=1, batched=True),
        ask("block", steps=131072, lanes=1, block=4),
        ask(steps=131072, lanes=1, max_steps=10),
    ):
        assert isinstance(choose(question, None, facts).solver, rnn.Sequential)
    assert choose(ask(steps=131072, lanes=1, max_steps=20), None, facts).solver.chunks == 16


def test_a_faster_forward_pass_is_refused_if_gradients_lose():
    slow = {"serial_gradient": 1.6, "two_level_gradient": 1.6, "newton_two_level": 9.0, "newton_associative": 9.0}
    chosen = choose(ask(steps=131072, lanes=1), None, made_up(warm_16=0.3, warm_32=0.3, **slow))
    assert chosen.solver == rnn.Sequential("bptt")


def test_a_warm_start_is_left_out_where_being_refused_costs_too_much():
    slow = {"newton_two_level": 9.0, "newton_associative": 9.0}
    facts = made_up(warm_16=0.3, warm_32=0.25, refused_32=1.2, **slow)
    assert choose(ask(steps=131072, lanes=1), None, facts).solver.chunks == 16
    facts = made_up(warm_16=0.3, warm_32=0.25, refused_16=1.2, refused_32=1.2, **slow)
    assert isinstance(choose(ask(steps=131072, lanes=1), None, facts).solver, rnn.Sequential)


def test_newton_where_it_was_measured_to_be_faster():
    chosen = choose(ask("block"), None, made_up(newton_associative=0.01, newton_associative_gradient=0.02))
    assert (chosen.solver, chosen.scan) == (rnn.Newton(), rnn.Associative())


def test_a_scan_that_is_given_stays():
    slow = {"serial_gradient": 3.0, "two_level_gradient": 3.0, "newton_two_level": 9.0, "newton_associative": 9.0}
    chosen = choose(ask(), rnn.TwoLevel(7), made_up(**slow))
    assert (chosen.solver, chosen.scan) == (rnn.Sequential(), rnn.TwoLevel(7))


def test_an_accelerator_without_figures_is_judged_by_the_cost_model():
    chosen = choose(ask(steps=65536, lanes=64), None, None)
    assert chosen.solver == rnn.Newton()
    assert "cost model" in chosen.why
    full = choose(ask(steps=65536, lanes=2**20), None, None)  # the card is full: nothing is left to parallelise
    assert full.solver == rnn.Sequential("bptt")
    assert choose(ask("dense"), None, None).solver == rnn.Sequential("bptt")


@pytest.mark.parametrize(
    ("make", "family", "block"),
    [
        (lambda: rnn.ParaGRU(4, 6), "diagonal", 1),
        (lambda: rnn.LinearGRU(4, 6), "diagonal", 1),
        (lambda: rnn.ParaLSTM(4, 6), "block", 2),
        (lambda: rnn.GRU(4, 6), "dense", 6),
    ],
)
def test_a_cell_is_recognised_by_its_jacobian(monkeypatch, make, family, block):
    asked = []
    monkeypatch.setattr(_auto, "choose", lambda question, *_: asked.append(question) or choose(question, *_))
    cell = make()
    rnn.solve(cell, cell.init(jax.random.key(0)), jnp.ones((3, 20, 4)))
    assert asked == [Question(family, 20, 18, False, None, block)]


def test_the_default_of_solve_and_what_it_says():
    result = rnn.solve(STEP, 0.5, jnp.ones((200, 3)), jnp.zeros(3))
    assert isinstance(result.solver, rnn.Chosen)
    assert "200 steps x 3 lanes" in result.solver.why
    assert "workbench calibrate" in repr(result)
    explicit = rnn.solve(STEP, 0.5, jnp.ones((200, 3)), jnp.zeros(3), solver=rnn.Auto())
    assert explicit.solver == result.solver
    again = rnn.solve(STEP, 0.5, jnp.ones((200, 3)), jnp.zeros(3), solver=result.solver)
    close(again.states, result.states, atol=0)


def test_the_choice_is_the_same_inside_jit_and_grad(monkeypatch):
    known(monkeypatch, made_up(warm_16=0.3, newton_two_level=9.0, newton_associative=9.0))
    chosen = []

    def loss(x):
        result = rnn.solve(STEP, 0.5, x, jnp.zeros(1))
        chosen.append(result.solver)
        return (result.states**2).sum()

    x = jax.random.normal(jax.random.key(0), (9000, 1))
    loss(x), jax.jit(loss)(x), jax.grad(loss)(x), jax.jit(jax.grad(loss))(x)
    assert len(chosen) == 4
    assert len(set(chosen)) == 1
    assert isinstance(chosen[0].solver, rnn.WarmStart)
    jax.vmap(loss)(jnp.stack([x, x]))
    assert isinstance(chosen[-1].solver, rnn.Sequential)
    jax.vmap(jax.grad(loss))(jnp.stack([x, x]))
    assert isinstance(chosen[-1].solver, rnn.Sequential)


def with_gradient(cell, params, x, h0, solver):
    f = lambda params, x: rnn.solve(cell, params, x, h0, solver=solver).states
    states, pull = jax.vjp(f, params, x)
    return states, pull(jnp.cos(states))


def test_a_warm_start_gives_the_states_and_gradients_of_the_loop(monkeypatch):
    known(monkeypatch, made_up(warm_16=0.3, newton_two_level=9.0, newton_associative=9.0))
    x = jax.random.normal(jax.random.key(0), (9001, 2))
    ours, loops = (
        with_gradient(STEP, jnp.asarray(0.6), x, jnp.ones(2), s) for s in (rnn.Auto(), rnn.Sequential("bptt"))
    )
    close(ours, loops, atol=1e-10)


def test_chaos_is_computed_one_step_after_the_other(monkeypatch):
    """The warm start looks first; Newton is followed by the loop. Neither fails where the loop would not."""
    x, h0 = jnp.zeros((9000, 1)), jnp.full(1, 0.3)
    loop = rnn.solve(LOGISTIC, 4.0, x, h0, solver=rnn.Sequential())
    known(monkeypatch, made_up(warm_16=0.3, newton_two_level=9.0, newton_associative=9.0))
    warm = rnn.solve(LOGISTIC, 4.0, x, h0)
    assert isinstance(warm.solver.solver, rnn.WarmStart)
    known(monkeypatch, made_up(newton_two_level=0.1))
    newton = rnn.solve(LOGISTIC, 4.0, x, h0)
    assert newton.solver.solver == rnn.Newton()
    for result in (warm, newton):
        assert result.status.converged.all()
        assert float(result.stats.residual) == 0
        np.testing.assert_array_equal(result.states, loop.states)
    assert float(newton.stats.history[newton.stats.iterations]) == 0


def test_states_that_are_not_finite_stay_a_failure(monkeypatch):
    known(monkeypatch, made_up(newton_two_level=0.1))
    x = jnp.ones((300, 1)).at[5].set(jnp.nan)
    result = rnn.solve(STEP, 0.5, x, jnp.zeros(1), on_failure="return")
    assert str(result.status) == "nonfinite"
    with pytest.raises(rnn.solve.__globals__["NotConverged"]):
        rnn.solve(STEP, 0.5, x, jnp.zeros(1))


def test_auto_does_not_iterate_itself():
    with pytest.raises(TypeError, match="stands for another solver"):
        rnn.Auto().init(None, None, None)
    with pytest.raises(TypeError, match="stands for another solver"):
        rnn.Auto().step(None, None, None)


@pytest.mark.parametrize("solver", [None, rnn.Newton(), rnn.Sequential()], ids=str)
def test_a_second_call_with_the_same_shapes_compiles_nothing(solver):
    cell = rnn.ParaGRU(3, 5)
    params = cell.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, 2, 40, 3))
    call = lambda x: jax.block_until_ready(rnn.solve(cell, params, x, solver=solver).states)
    call(x[0])
    second, compiled = x[1], []

    def listen(event, _, **facts):
        if "compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        call(second)
        told = list(compiled)
        jax.jit(lambda a: a + jnp.float32(len(told)))(second.astype(jnp.float32))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert told == []
    assert compiled  # the listener does hear compilations


def test_the_shipped_figures_are_complete_and_used_until_this_machine_is_measured():
    told = json.loads(_facts.SHIPPED.read_text(encoding="utf-8"))
    for setting in ("plain", "fused"):
        assert set(told[setting]["seconds"]) == set(_facts.names(accelerator=False))
        assert all(0 < s < 100 for s in told[setting]["seconds"].values())
    facts = _facts.facts()
    assert facts.seconds == told["fused" if rnn.fast_loops_active() else "plain"]["seconds"]
    assert not facts.here
    assert "reference machine" in facts.where


def test_a_calibration_is_kept_used_and_measured_again_on_request(monkeypatch, tmp_path):
    rounds = []
    figures = dict.fromkeys(_facts.names(accelerator=False), 0.5)
    monkeypatch.setattr(_calibration, "measure", lambda progress: rounds.append(0) or dict(figures))
    first = rnn.calibrate()
    assert first.here
    assert first.where.startswith("measured here on 20")
    assert rnn.calibrate().seconds == figures
    assert len(rounds) == 1
    assert "measured here" in rnn.solve(STEP, 0.5, jnp.ones((20, 2)), jnp.zeros(2)).solver.why
    (file,) = (tmp_path / "measured").glob("rnn-*")
    file.write_text(file.read_text(encoding="utf-8")[:-10], encoding="utf-8")
    _facts.forget()
    assert not _facts.facts().here  # torn: not trusted
    rnn.calibrate()
    rnn.calibrate(refresh=True)
    assert len(rounds) == 3


def test_every_way_can_be_measured(monkeypatch):
    """The same calls at a tiny size; the ways of accelerators are named, not run."""
    for family in _facts.POINTS:
        monkeypatch.setitem(_facts.POINTS, family, ((20, 2),))
    monkeypatch.setattr(_facts, "WARM_POINTS", ((20, 2),))
    monkeypatch.setattr(_calibration, "FILL_S", 0.0)
    told = []
    seconds = _calibration.measure(lambda done, of: told.append((done, of)))
    assert set(seconds) == set(_facts.names(accelerator=False))
    assert min(seconds.values()) > 0
    assert told[-1] == (4, 4)
    measured = {w for f in _facts.POINTS for p in _facts.points(f) for w in _facts.ways(f, p, accelerator=True)}
    assert {way.removesuffix("-gradient") for way in measured} == set(_auto.METHODS)


def test_the_key_of_the_figures_is_the_machine():
    assert hardware.this_machine().facts().keys() >= {"cpu", "cores", "backend", "jax", "xla_flags"}
