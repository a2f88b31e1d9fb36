"""Training: the update against NumPy, seeds side by side, exact resumption, and a kill in the middle of a save."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm_table import config

from workbench import lm, rnn
from workbench.lm import _checkpoint

TASK = lm.tasks.Parity()
TINY = lm.Config(2, 1, 4, lm.Recurrent(rnn.ParaGRU, clip_at=0.5), bare=True)
STREAM = lm.tasks.Samples(TASK, batch=4, length=6)
OPTIMISER = lm.AdamW(learning_rate=0.05, weight_decay=0.1, clip_norm=0.2, z_loss=1e-3)


def run(steps=6, **changes):
    given = {"optimiser": OPTIMISER, "seeds": (0, 1), "steps_per_call": 2} | changes
    return lm.train(TINY, STREAM, steps, **given)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, (a.trained, a.history), (b.trained, b.history))


def test_rates_rise_then_fall_to_zero():
    rates = lm.AdamW(learning_rate=2.0, warmup=0.1).rates(100)
    np.testing.assert_allclose(rates[:10], 0.2 * np.arange(1, 11), rtol=1e-6)
    assert rates.argmax() == 9
    assert (np.diff(rates[9:]) < 0).all()
    assert rates[54] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    assert (lm.AdamW(learning_rate=2.0, warmup=0, decay="constant").rates(5) == 2).all()


def test_update_is_adamw_of_the_papers():
    """Three steps in NumPy from the model's own gradients: clip, moments, decay of matrices, recurrent clip."""
    trained = run(steps=3, seeds=(1,), steps_per_call=3)
    params = lm.init(TINY, jax.random.key(1))
    gradient = jax.jit(jax.grad(lambda p, b: lm.loss(p, b, 1e-3)[0]))
    m = v = jax.tree.map(jnp.zeros_like, params)
    matrices = jax.tree.map(lambda a: a.ndim >= 2, params)
    layers = jax.tree.map(lambda a: a.ndim >= 3, params.weights["layers"])
    matrices = matrices.replace(weights=matrices.weights | {"layers": layers})
    for step, rate in enumerate(OPTIMISER.rates(3), 1):
        g = gradient(params, STREAM(1, step - 1))
        norm = float(jnp.sqrt(sum((a * a).sum() for a in jax.tree.leaves(g))))
        assert trained.history["gradient_norm"][0, step - 1] == pytest.approx(norm, rel=1e-5)
        g = jax.tree.map(lambda a, norm=norm: a * min(1.0, 0.2 / norm), g)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.95 * v + 0.05 * g * g, v, g)

        def update(p, m, v, matrix, step=step, rate=float(rate)):
            u = m / (1 - 0.9**step) / (jnp.sqrt(v / (1 - 0.95**step)) + 1e-8)
            return p - rate * (u + (0.1 * p if matrix else 0))

        params = lm.clip(jax.tree.map(update, params, m, v, matrices))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), trained.model(1), params)


def test_seeds_side_by_side_are_seeds_alone():
    both, alone = run(), run(seeds=(1,))
    np.testing.assert_allclose(both.history["loss"][1], alone.history["loss"][0], rtol=1e-5)
    assert (both.history["loss"][0] != both.history["loss"][1]).all()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), both.model(1), alone.model(1))
    assert both.finite.tolist() == [True, True]
    assert both.evaluate(TASK.held_out(8, 6)).accuracy.shape == (2,)


def test_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    whole = run()

    class Stop(Exception):
        pass

    def interrupt(training):
        if training.steps == 4:
            raise Stop

    with pytest.raises(Stop):
        run(folder=tmp_path, calls_per_save=1, progress=interrupt)
    seen = []
    resumed = run(folder=tmp_path, calls_per_save=1, progress=lambda training: seen.append(training.steps))
    assert seen == [4, 6]  # two steps were saved before the interruption
    same(resumed, whole)
    done = run(folder=tmp_path, progress=lambda training: pytest.fail("nothing is left to do"))
    same(done, whole)


def test_progress_ends_a_run_for_good(tmp_path):
    stopped = run(folder=tmp_path, progress=lambda training: training.steps >= 2)
    assert stopped.steps == 2
    same(run(folder=tmp_path), stopped)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run(folder=tmp_path, steps=2)
    for name, change in {
        "steps": {"steps": 4},
        "seeds": {"seeds": (0, 2)},
        "optimiser": {"optimiser": dataclasses.replace(OPTIMISER, weight_decay=0.0)},
        "steps_per_call": {"steps_per_call": 1},
    }.items():
        with pytest.raises(ValueError, match=f"^{name}: "):
            run(folder=tmp_path, **{"steps": 2} | change)
    with pytest.raises(ValueError, match=r"^stream: "):
        lm.train(
            TINY, lm.tasks.Samples(TASK, 4, 7), 2, optimiser=OPTIMISER, seeds=(0, 1), steps_per_call=2, folder=tmp_path
        )


def test_a_damaged_checkpoint_is_told(tmp_path):
    half = jnp.full(3, 1 / 3, jnp.bfloat16)
    path = _checkpoint.save(tmp_path, {"a": np.arange(1000), "half": half}, {}, {"stopped": False})
    like = {"a": np.zeros(1000, int), "half": half}
    loaded = _checkpoint.load(tmp_path, like, {})[0]
    assert (loaded["a"] == np.arange(1000)).all()
    assert (loaded["half"] == half).all()
    with pytest.raises(ValueError, match=r"state\['a'\] as int64\[1000\], must be int64\[3\]"):
        _checkpoint.load(tmp_path, like | {"a": np.zeros(3, int)}, {})
    with pytest.raises(ValueError, match=r"state\['b'\] as nothing"):
        _checkpoint.load(tmp_path, like | {"b": np.zeros(1)}, {})
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"^folder: .* is damaged"):
        _checkpoint.load(tmp_path, like, {})


def test_a_kill_in_the_middle_of_a_save_loses_nothing(tmp_path):
    program = textwrap.dedent(f"""
        import os, signal
        import numpy as np
        from workbench.lm import _checkpoint
        def save(value):
            _checkpoint.save({str(tmp_path)!r}, {{"a": np.full(100_000, value)}}, {{}}, {{"step": value}})
        save(1)
        def killed(file):  # the new file is written; it has not taken the old one's place
            os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = killed
        save(2)
    """)
    ended = subprocess.run([sys.executable, "-c", program], env=os.environ | {"JAX_PLATFORMS": "cpu"}, check=False)
    assert ended.returncode == -signal.SIGKILL
    state, _, about = _checkpoint.load(tmp_path, {"a": np.zeros(100_000, int)}, {})
    assert about["step"] == 1
    assert (state["a"] == 1).all()
    _checkpoint.save(tmp_path, {"a": np.zeros(2)}, {}, {})  # what the kill left behind is in nobody's way
    assert [path.name for path in tmp_path.iterdir()] == [_checkpoint.NAME]


def test_a_curriculum_ends_calls_where_the_length_changes():
    stream, calls = lm.tasks.Samples(TASK, 4, ((0, 4), (2, 6))), []
    trained = lm.train(TINY, stream, 4, steps_per_call=3, progress=lambda training: calls.append(training.steps))
    assert calls == [2, 4]
    assert trained.history["loss"].shape == (1, 4)


def test_newtons_residual_is_logged():
    newton = dataclasses.replace(TINY, mixer=dataclasses.replace(TINY.mixer, solver=rnn.Newton(steps=2)))
    history = lm.train(newton, STREAM, 2, steps_per_call=2).history
    assert (history["iterations"] == 2).all()
    assert (history["residual"] > 0).all()
    assert history["converged"].shape == (1, 2)


def test_a_paragru_learns_parity_of_short_strings():
    cfg = lm.Config(2, 1, 16, lm.Recurrent(rnn.ParaGRU), bare=True)
    optimiser = lm.AdamW(learning_rate=1e-2, decay="constant")
    trained = lm.train(cfg, lm.tasks.Samples(TASK, 16, 8), 400, optimiser=optimiser, steps_per_call=100)
    assert trained.evaluate(TASK.held_out(256, 8)).accuracy.min() > 0.99


def test_gradient_in_parts_is_that_of_the_whole_batch():
    """The parts hold different numbers of positions that count."""
    drop = lambda seed, step: STREAM(seed, step)._replace(mask=np.arange(24).reshape(4, 6) % 5 > step % 3)
    whole, parts = (lm.train(TINY, drop, 4, accumulate=n, optimiser=OPTIMISER) for n in (1, 2))
    np.testing.assert_allclose(parts.history["loss"], whole.history["loss"], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), parts.model(0), whole.model(0))
    with pytest.raises(ValueError, match=r"^accumulate: 3, must divide"):
        lm.train(TINY, STREAM, 2, accumulate=3)


def test_half_precision_learns_about_the_same_with_full_weights():
    full, half = (run(precision=precision) for precision in (None, "bfloat16"))
    assert {leaf.dtype for leaf in jax.tree.leaves(half.trained)} == {np.dtype("float32")}
    np.testing.assert_allclose(half.history["loss"], full.history["loss"], atol=0.03)
    assert (half.history["loss"] != full.history["loss"]).any()


def test_training_goes_on_from_a_model_and_leaves_alone_what_is_frozen(tmp_path):
    first = run(steps=2, seeds=(1,)).model(1)
    on = lm.train(first, STREAM, 2, seeds=(0, 1), optimiser=OPTIMISER, folder=tmp_path)
    assert on.history["loss"].shape == (2, 2)
    alone = lm.train(lambda seed: first, STREAM, 2, seeds=(0, 1), optimiser=OPTIMISER)
    same(on, alone)
    with pytest.raises(ValueError, match=r"^start: "):
        lm.train(lm.init(TINY, jax.random.key(5)), STREAM, 2, seeds=(0, 1), optimiser=OPTIMISER, folder=tmp_path)
    with pytest.raises(ValueError, match=r"^start: .* frozen"):
        lm.train(first.replace(frozen=("weights",)), STREAM, 2)


def test_what_comes_back_prints_and_plots():
    trained = run(steps=2)
    assert "seeds: 2" in repr(trained)
    assert "Recurrent(ParaGRU" in trained._repr_html_()
    assert len(trained.plot()) == 2
    with pytest.raises(ValueError, match=r"^seed: 7"):
        trained.model(7)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda: run(steps=0), "steps"),
        (lambda: run(steps_per_call=0), "steps_per_call"),
        (lambda: run(calls_per_save=True), "calls_per_save"),
        (lambda: run(accumulate=0), "accumulate"),
        (lambda: run(precision="float16"), "precision"),
        (lambda: run(seeds=()), "seeds"),
        (lambda: run(seeds=(1, 1)), "seeds"),
        (lambda: lm.AdamW(learning_rate=0.0), "learning_rate"),
        (lambda: lm.AdamW(warmup=1.0), "warmup"),
        (lambda: lm.AdamW(decay="linear"), "decay"),
        (lambda: lm.AdamW(weight_decay=-1.0), "weight_decay"),
        (lambda: lm.AdamW(clip_norm=0.0), "clip_norm"),
        (lambda: lm.AdamW(z_loss=-1.0), "z_loss"),
        (lambda: lm.AdamW(betas=(0.9, 1.0)), "betas"),
        (lambda: lm.train(config(), lambda seed, step: None, 0), "steps"),
    ],
)
def test_mistakes_are_named_at_the_door(wrong, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        wrong()
