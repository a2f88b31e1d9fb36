"""Plain functions as cells: structure found, declared and probed; memory refused; compilation counted."""

import jax
import jax.numpy as jnp
import pytest
from rnn_table import close

from workbench import rnn

X = jax.random.normal(jax.random.key(0), (20, 4))
H0 = 0.1 * jnp.ones(4)


def structure(f, h0=H0, x=X, params=0.5):
    return rnn.solve(f, params, x, h0).cell.structure


def test_elementwise_functions_are_found_diagonal():
    assert structure(lambda h, x, a: jnp.tanh(a * h + x)) == "diagonal"
    assert structure(lambda h, x, a: jnp.where(h > 0, 0.5 * jax.nn.relu(h), jax.nn.sigmoid(h)) + x) == "diagonal"
    assert structure(lambda h, x, a: jax.jit(jnp.sin)(a * h) + jnp.clip(h, -1, 1) + x.sum()) == "diagonal"
    assert structure(lambda h, x, a: x) == "diagonal"
    assert (
        structure(lambda h, x, a: jnp.sin(h).sum() + x, jnp.ones(1), X[:, :1]) == "diagonal"
    )  # one entry: nothing to mix


@pytest.mark.parametrize(
    "f",
    [
        lambda h, x, a: a * jnp.roll(h, 1) + x,
        lambda h, x, a: a * h[::-1] + x,
        lambda h, x, a: a * jnp.tanh(h.mean()) + x,
        lambda h, x, a: a * jnp.cumsum(jnp.tanh(h)) / 4 + x,
        lambda h, x, a: a * jax.jit(lambda h: jnp.flip(h))(h) + x,
        lambda h, x, a: jnp.where(h[0] > 0, a * h, a * h) + x,
    ],
)
def test_functions_that_may_mix_entries_are_dense(f):
    assert structure(f) == "dense"
    close(rnn.solve(f, 0.5, X, H0).states, rnn.solve(f, 0.5, X, H0, solver=rnn.Sequential()).states, atol=1e-12)


def test_any_state_and_input_shape():
    f = lambda h, x, a: jnp.tanh(a * h + x["up"] - x["down"])
    for shape in ((), (1,), (2, 3)):
        x = {"up": jnp.ones((9, *shape)), "down": jnp.zeros((9, *shape))}
        result = rnn.solve(f, 0.5, x, jnp.zeros(shape))
        assert result.states.shape == (9, *shape)
        assert result.final.shape == shape
        close(result.final, result.states[-1], atol=0)


MIXING = lambda h, x, a: a * jnp.roll(h, 1, -1) + 0.1 * jnp.tanh(h) + x


@pytest.mark.parametrize("declared", ["diagonal", "block"])
def test_a_wrong_structure_raises(declared):
    h0 = H0 if declared == "diagonal" else H0.reshape(2, 2)
    x = X.reshape(20, *h0.shape)
    f = MIXING if declared == "diagonal" else (lambda h, x, a: a * jnp.roll(h, 1, 0) + x)
    cell = rnn.Function(f, structure=declared)
    with pytest.raises(ValueError, match=f"structure: '{declared}' was declared"):
        rnn.solve(cell, 0.5, x, h0)
    with pytest.raises(ValueError, match=f"structure: '{declared}' was declared"):
        jax.jit(lambda a: rnn.solve(cell, a, x, h0).states)(0.5)
    with pytest.raises(ValueError, match=f"structure: '{declared}' was declared"):
        jax.grad(lambda a: rnn.solve(cell, a, x, h0).states.sum())(0.5)


def test_a_right_structure_passes_the_probe():
    f = lambda h, x, a: jnp.stack([a * h[0] * h[1] + x[0], jnp.tanh(h[1] - h[0]) + x[1]])
    paired = lambda h, x, a: jax.vmap(f, (0, 0, None))(h, x, a)
    h0, x = H0.reshape(2, 2), 0.3 * X.reshape(20, 2, 2)
    result = rnn.solve(rnn.Function(paired, "block"), 0.5, x, h0)
    assert result.cell.structure == "block"
    close(result.states, rnn.solve(paired, 0.5, x, h0, solver=rnn.Sequential()).states, atol=1e-12)
    same = lambda h, x, a: a * jnp.roll(jnp.roll(h, 1), -1) + x  # diagonal, though no reading of the program shows it
    assert rnn.solve(same, 0.5, X, H0).cell.structure == "dense"
    assert rnn.solve(rnn.Function(same, "diagonal"), 0.5, X, H0).cell.structure == "diagonal"


def test_a_dense_jacobian_above_the_limit_is_refused_with_its_size():
    f = lambda h, x, w: w @ jnp.tanh(h) + x
    x, h0, w = jnp.zeros((16384, 256), jnp.float32), jnp.zeros(256, jnp.float32), jnp.zeros((256, 256), jnp.float32)
    with pytest.raises(ValueError, match=r"memory: the dense Jacobians of 16384 steps take 4\.3 GB"):
        rnn.solve(f, w, x, h0)
    small = rnn.Function(f, memory_limit_bytes=1000)
    with pytest.raises(ValueError, match="memory"):
        rnn.solve(small, w, x[:4], h0)
    assert rnn.solve(small, w, x[:4], h0, solver=rnn.Sequential()).status.converged


def test_compiles_once():
    from workbench.rnn._solve import _solve

    def compilations(call, times=3):
        before = _solve._cache_size()
        for _ in range(times):
            call()
        return _solve._cache_size() - before

    cell = rnn.ParaGRU(4, 8)
    params = cell.init(jax.random.key(0))
    assert compilations(lambda: rnn.solve(rnn.ParaGRU(4, 8), params, X, solver=rnn.Newton(), scan=rnn.TwoLevel(5))) == 1
    assert (
        compilations(lambda: rnn.solve(cell, params, 2 * X, solver=rnn.Newton(), scan=rnn.TwoLevel(5), atol=1e-9)) == 0
    )
    f = lambda h, x, a: jnp.tanh(a * h + 3 * x)
    assert compilations(lambda: rnn.solve(f, 0.5, X, H0)) == 1
    assert (
        compilations(lambda: rnn.solve(lambda h, x, a: jnp.tanh(a * h + 4 * x), 0.5, X, H0)) == 1
    )  # a new one each time
    w = jnp.eye(4)
    assert compilations(lambda: rnn.solve(lambda h, x, a: jnp.tanh(w @ h + x), 0.5, X, H0)) == 1
    smooth = lambda h, x, a: jax.nn.relu(a * h + x)  # a custom derivative inside
    assert compilations(lambda: rnn.solve(smooth, 0.5, X, H0)) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rnn.solve(lambda h, x, a: h, 0.5, X), "h0: None"),
        (
            lambda: rnn.solve(lambda h, x, a: h[:2], 0.5, X, H0),
            r"f: returns float64\[2\] for a state h0 of float64\[4\]",
        ),
        (lambda: rnn.solve(lambda h, x, a: (h, h), 0.5, X, H0), "f: returns"),
        (lambda: rnn.solve(lambda h, x, a: h, 0.5, {"u": X, "v": X[:3]}, H0), "x: shapes"),
        (lambda: rnn.solve(lambda h, x, a: h, 0.5, X, (H0, H0)), "h0: tuple"),
        (lambda: rnn.solve(lambda h, x, a: h, 0.5, X, jnp.zeros(4, int)), "h0: dtype int"),
        (lambda: rnn.solve(lambda h, x, a: h, 0.5, X[:0], H0), "x: 0 steps"),
        (lambda: rnn.solve(lambda h, x, a: h, 1j, X, H0.astype(complex)), "complex"),
        (lambda: rnn.Function(3), "f: 3"),
        (lambda: rnn.Function(len, "sparse"), "structure: 'sparse'"),
        (lambda: rnn.Function(len, memory_limit_bytes=0), "memory_limit_bytes: 0"),
        (lambda: rnn.solve(rnn.Function(lambda h, x, a: h, "block"), 0.5, X, H0), "structure: 'block', needs"),
    ],
)
def test_door(call, message):
    with pytest.raises(ValueError, match=message):
        call()
