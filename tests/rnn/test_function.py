"""Plain functions as cells: structure found, declared and probed; memory refused; compilation counted."""

import functools

import jax
import jax.numpy as jnp
import pytest
from rnn_table import close

from workbench import rnn

X = jax.random.normal(jax.random.key(0), (20, 4))
H0 = 0.1 * jnp.ones(4)
newton = functools.partial(rnn.solve, solver=rnn.Newton())


def structure(f, h0=H0, x=X, params=0.5):
    return newton(f, params, x, h0).cell.structure


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
    close(newton(f, 0.5, X, H0).states, newton(f, 0.5, X, H0, solver=rnn.Sequential()).states, atol=1e-12)


def test_any_state_and_input_shape():
    f = lambda h, x, a: jnp.tanh(a * h + x["up"] - x["down"])
    for shape in ((), (1,), (2, 3)):
        x = {"up": jnp.ones((9, *shape)), "down": jnp.zeros((9, *shape))}
        result = newton(f, 0.5, x, jnp.zeros(shape))
        assert result.states.shape == (9, *shape)
        assert result.final.shape == shape
        close(result.final, result.states[-1], atol=0)


def lstm_by_hand(h, x, a):
    """Elementwise between two leaves: no channel sees another."""
    f = jax.nn.sigmoid(a * h["h"] + x)
    c = f * h["c"] + (1 - f) * jnp.tanh(x - a * h["h"])
    return {"c": c, "h": jnp.tanh(c)}


def uneven(h, x, a):
    memory, mean = h
    return jnp.tanh(a * memory + x + mean), a * mean + memory.mean()


@pytest.mark.parametrize(
    ("f", "h0", "found"),
    [(lstm_by_hand, {"c": H0, "h": 2 * H0}, "block"), (uneven, (H0, jnp.asarray(0.3)), "dense")],
    ids=["alike", "uneven"],
)
def test_pytree_states(f, h0, found):
    def exact(a, h0):
        return jax.lax.scan(lambda h, x: (f(h, x, a),) * 2, h0, X)[1]

    result = newton(f, 0.5, X, h0)
    assert result.cell.structure == found
    assert result.stats.iterations < 10
    expected = exact(0.5, h0)
    close(result.states, expected, atol=1e-12)
    close(result.final, jax.tree.map(lambda a: a[-1], expected), atol=1e-12)
    assert "float64[20, 4]" in repr(result)
    total = lambda solve: lambda a, h0: sum(jnp.sin(3 * s).sum() for s in jax.tree.leaves(solve(a, h0)))
    mine = jax.grad(total(lambda a, h0: newton(f, a, X, h0).states), (0, 1))(0.5, h0)
    close(mine, jax.grad(total(exact), (0, 1))(0.5, h0), atol=1e-10)
    again = newton(f, 0.5, X, h0, guess=lambda a, x, h0: jax.tree.map(lambda s: s + a - 0.5, expected))
    assert again.stats.iterations <= 1  # the callable gets what the user passed
    many = jax.vmap(lambda a: newton(f, a, X, h0))(jnp.asarray([0.5, 0.6]))
    close(jax.tree.map(lambda a: a[0], many.final), result.final, atol=1e-12)
    close(rnn.step(f, 0.5, h0, X[0]), jax.tree.map(lambda a: a[0], expected), atol=1e-15)


def test_a_pytree_state_that_mixes_leaves_is_not_diagonal():
    with pytest.raises(ValueError, match="structure: 'diagonal' was declared"):
        newton(rnn.Function(lstm_by_hand, "diagonal"), 0.5, X, {"c": H0, "h": H0})


MIXING = lambda h, x, a: a * jnp.roll(h, 1, -1) + 0.1 * jnp.tanh(h) + x


@pytest.mark.parametrize("shape", [(4,), (2, 2), (4, 1), (2, 3)], ids=str)
def test_a_wrong_structure_raises(shape):
    declared = "diagonal" if len(shape) == 1 else "block"
    h0, x = 0.1 * jnp.ones(shape), jax.random.normal(jax.random.key(0), (20, *shape))
    f = MIXING if declared == "diagonal" else (lambda h, x, a: a * jnp.roll(h, 1, 0) + x)
    cell = rnn.Function(f, structure=declared)
    with pytest.raises(ValueError, match=f"structure: '{declared}' was declared"):
        newton(cell, 0.5, x, h0)
    with pytest.raises(ValueError, match=f"structure: '{declared}' was declared"):
        jax.jit(lambda a: newton(cell, a, x, h0).states)(0.5)
    with pytest.raises(ValueError, match=f"structure: '{declared}' was declared"):
        jax.grad(lambda a: newton(cell, a, x, h0).states.sum())(0.5)
    with pytest.raises(ValueError, match=f"structure: '{declared}' was declared"):
        jax.vmap(lambda x: newton(cell, 0.5, x, h0).states)(x[None])


def test_a_right_structure_passes_the_probe():
    f = lambda h, x, a: jnp.stack([a * h[0] * h[1] + x[0], jnp.tanh(h[1] - h[0]) + x[1]])
    paired = lambda h, x, a: jax.vmap(f, (0, 0, None))(h, x, a)
    h0, x = H0.reshape(2, 2), 0.3 * X.reshape(20, 2, 2)
    result = newton(rnn.Function(paired, "block"), 0.5, x, h0)
    assert result.cell.structure == "block"
    close(result.states, newton(paired, 0.5, x, h0, solver=rnn.Sequential()).states, atol=1e-12)
    same = lambda h, x, a: a * jnp.roll(jnp.roll(h, 1), -1) + x  # diagonal, though no reading of the program shows it
    assert newton(same, 0.5, X, H0).cell.structure == "dense"
    assert newton(rnn.Function(same, "diagonal"), 0.5, X, H0).cell.structure == "diagonal"
    # Large negative slopes: their rounding is no sign of another structure.
    steep = lambda h, x, a: -1e9 * jnp.roll(jnp.roll(h * h, 1), -1) + x
    newton(rnn.Function(steep, "diagonal"), 0.5, X, 1 + 0 * H0, solver=rnn.Sequential(), on_failure="return")


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("f", [lambda h, x, a: jnp.tanh(a * h + x), MIXING], ids=["diagonal", "dense"])
def test_diagonal_blocks_without_the_jacobian(f, k):
    cell = newton(f, 0.5, X, H0).cell
    h, params = 0.3 * X, (jnp.asarray(0.5), ())
    full = jax.vmap(jax.jacfwd(lambda h, x: f(h, x, 0.5)))(h, X)
    value, J = cell.block_diagonal(params, h, X, k)
    close(value, jax.vmap(lambda h, x: f(h, x, 0.5))(h, X), atol=1e-15)
    m = J.d[..., None, None] if k == 1 else J.m
    close(m, jnp.stack([full[:, i : i + k, i : i + k] for i in range(0, 4, k)], 1), atol=1e-15)
    with pytest.raises(ValueError, match="k: 3, must be an integer of at least 1 that divides"):
        cell.block_diagonal(params, h, X, 3)


def test_a_dense_jacobian_above_the_limit_is_refused_with_its_size():
    f = lambda h, x, w: w @ jnp.tanh(h) + x
    x, h0, w = jnp.zeros((16384, 256), jnp.float32), jnp.zeros(256, jnp.float32), jnp.zeros((256, 256), jnp.float32)
    with pytest.raises(ValueError, match=r"memory: the dense Jacobians of 16384 steps take 4\.3 GB"):
        newton(f, w, x, h0)
    small = rnn.Function(f, memory_limit_bytes=1000)
    with pytest.raises(ValueError, match="memory"):
        newton(small, w, x[:4], h0)
    assert newton(small, w, x[:4], h0, solver=rnn.Sequential()).status.converged


def test_compiles_once():
    from workbench.rnn._solve import _solve

    def compilations(call, times=3):
        before = _solve._cache_size()
        for _ in range(times):
            call()
        return _solve._cache_size() - before

    cell = rnn.ParaGRU(4, 8)
    params = cell.init(jax.random.key(0))
    assert compilations(lambda: newton(rnn.ParaGRU(4, 8), params, X, scan=rnn.TwoLevel(5))) == 1
    assert compilations(lambda: newton(cell, params, 2 * X, scan=rnn.TwoLevel(5), atol=1e-9)) == 0
    f = lambda h, x, a: jnp.tanh(a * h + 3 * x)
    assert compilations(lambda: newton(f, 0.5, X, H0)) == 1
    assert compilations(lambda: newton(lambda h, x, a: jnp.tanh(a * h + 4 * x), 0.5, X, H0)) == 1  # a new one each time
    w = jnp.eye(4)
    assert compilations(lambda: newton(lambda h, x, a: jnp.tanh(w @ h + x), 0.5, X, H0)) == 1
    smooth = lambda h, x, a: jax.nn.relu(a * h + x)  # a custom derivative inside
    assert compilations(lambda: newton(smooth, 0.5, X, H0)) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: newton(lambda h, x, a: h, 0.5, X), "h0: None"),
        (
            lambda: newton(lambda h, x, a: h[:2], 0.5, X, H0),
            r"f: returns float64\[2\] for a state h0 of float64\[4\]",
        ),
        (lambda: newton(lambda h, x, a: (h, h), 0.5, X, H0), "f: returns"),
        (lambda: newton(lambda h, x, a: h, 0.5, {"u": X, "v": X[:3]}, H0), "x: shapes"),
        (lambda: newton(lambda h, x, a: h[0], 0.5, X, (H0, H0)), r"f: returns float64\[4\] for a state"),
        (lambda: newton(lambda h, x, a: h, 0.5, X, (H0, 0.5)), "h0: float, must be one array"),
        (lambda: newton(lambda h, x, a: h, 0.5, X, ()), r"h0: \(\), must be an array or a pytree"),
        (lambda: newton(rnn.ParaGRU(4, 4), rnn.ParaGRU(4, 4).init(jax.random.key(0)), X, (H0, H0)), "h0: tuple"),
        (
            lambda: newton(lambda h, x, a: h, 0.5, X, (H0, H0), guess=jnp.zeros((20, 4))),
            "guess: shape",
        ),
        (lambda: newton(lambda h, x, a: h, 0.5, X, jnp.zeros(4, int)), "h0: dtype int"),
        (lambda: newton(lambda h, x, a: h, 0.5, X[:0], H0), "x: 0 steps"),
        (lambda: newton(lambda h, x, a: h, 1j, X, H0.astype(complex)), "complex"),
        (lambda: rnn.Function(3), "f: 3"),
        (lambda: rnn.Function(len, "sparse"), "structure: 'sparse'"),
        (lambda: rnn.Function(len, memory_limit_bytes=0), "memory_limit_bytes: 0"),
        (lambda: newton(rnn.Function(lambda h, x, a: h, "block"), 0.5, X, H0), "structure: 'block', needs"),
    ],
)
def test_door(call, message):
    with pytest.raises(ValueError, match=message):
        call()
