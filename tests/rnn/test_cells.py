"""Cells: the equations against NumPy, the closed-form Jacobians against autodiff, heads, initialisation, clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import close, problem, reference

from workbench import rnn

GATED = [
    rnn.ParaGRU(6, 8, heads=2),
    rnn.ParaLSTM(6, 8, heads=2),
    rnn.LinearGRU(6, 8, heads=2),
    rnn.MinLSTM(6, 8, heads=2),
]
CELLS = [*GATED, rnn.SSD(6, 2, 3, 2)]


def random_step(cell):
    keys = jax.random.split(jax.random.key(3), 4)
    params = cell.init(keys[0])
    recurrent = getattr(cell, "recurrent", ())
    params |= {name: jax.random.normal(keys[1], params[name].shape) for name in recurrent}  # large weights
    h = jax.random.normal(keys[2], (5, *cell.state_shape))
    return params, h, cell.project(params, jax.random.normal(keys[3], (5, 6)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_step(cell, params, h, u):
    """The equations of the paper, written out."""
    params, h, u = jax.tree.map(np.asarray, (params, h, u))
    if isinstance(cell, rnn.SSD):
        a, write, key = u
        return np.einsum("bn,bnps->bnps", a, h) + np.einsum("bnp,bs->bnps", write, key)
    if isinstance(cell, rnn.MinLSTM):
        f, i = sigmoid(u[:, 0]), sigmoid(u[:, 1])
        return f / (f + i) * h + i / (f + i) * u[:, 2]
    if isinstance(cell, rnn.ParaLSTM):
        (a_f, a_z, a_o), (p_f, p_o), c, h = params["a"], params["p"], h[..., 0], h[..., 1]
        f = sigmoid(a_f * h + p_f * c + u[:, 0])
        c = f * c + (1 - f) * np.tanh(a_z * h + u[:, 1])
        return np.stack([c, sigmoid(a_o * h + p_o * c + u[:, 2]) * np.tanh(c)], -1)
    if isinstance(cell, rnn.LinearGRU):
        z = sigmoid(u[:, 0])
        return (1 - z) * h + z * np.tanh(u[:, 1])
    a_z, a_r, a_c = params["a"]
    z, r = sigmoid(a_z * h + u[:, 0]), sigmoid(a_r * h + u[:, 1])
    return (1 - z) * h + z * np.tanh(a_c * (h * r) + u[:, 2])


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: type(c).__name__)
def test_step_is_the_papers_equation(cell):
    params, h, u = random_step(cell)
    close(cell.step(params, h, u), numpy_step(cell, params, h, u), atol=1e-14)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: type(c).__name__)
def test_closed_form_jacobian_is_autodiffs(cell):
    params, h, u = random_step(cell)
    size = int(np.prod(cell.state_shape))
    for i in range(5):
        u_i = jax.tree.map(lambda a, i=i: a[i], u)
        one = lambda h, u=u_i: cell.step(params, h, u)
        full = jax.jacfwd(one)(h[i]).reshape(size, size)
        J = cell.jacobian(params, h[i], u_i)
        columns = jax.vmap(J.apply)(jnp.eye(size).reshape(size, *cell.state_shape)).reshape(size, size).T
        close(columns, full, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: type(c).__name__)
def test_diagonal_blocks_are_those_of_the_jacobian(cell):
    params, h, u = random_step(cell)
    size = int(np.prod(cell.state_shape))
    full = jax.vmap(jax.jacfwd(lambda h, u: cell.step(params, h, u)))(h, u).reshape(5, size, size)
    for k in (1, 2, 4):
        exact = jnp.stack([full[:, i : i + k, i : i + k] for i in range(0, size, k)], 1)
        for J in (cell.block_diagonal(params, h, u, k)[1], rnn.AbstractCell.block_diagonal(cell, params, h, u, k)[1]):
            close(J.d.reshape(exact.shape) if k == 1 else J.m, exact, atol=1e-14)


@pytest.mark.parametrize("cell", GATED, ids=lambda c: type(c).__name__)
def test_projection_is_block_diagonal_over_heads(cell):
    params = cell.init(jax.random.key(0))
    influence = jax.jacfwd(lambda x: cell.project(params, x))(jnp.ones(6))  # (gates, hidden, input)
    assert (influence[:, :4, 3:] == 0).all()
    assert (influence[:, 4:, :3] == 0).all()
    assert (influence[:, :4, :3] != 0).all()
    assert (influence[:, 4:, 3:] != 0).all()


def test_initialisation_is_the_recipe():
    cell = rnn.ParaLSTM(64, 1024, heads=4)
    params = cell.init(jax.random.key(0))
    bound = np.sqrt(6 / 16)
    assert 0.99 * bound < jnp.abs(params["B"]).max() <= bound
    assert not params["b"].any()
    for name in ("a", "p"):
        assert abs(params[name].std() * np.sqrt(1024) - 1) < 0.05
    released = rnn.ParaLSTM(64, 1024, heads=4, initialisation="released").init(jax.random.key(0))
    assert abs(released["a"].std() * np.sqrt(1024 * 5 / 4) - 1) < 0.05
    close(released["b"][0], -np.linspace(0, 1, 1024), atol=1e-15)
    assert not released["b"][1:].any()
    assert rnn.ParaGRU(4, 4).init(jax.random.key(0), jnp.float32)["a"].dtype == jnp.float32


def test_clip_bounds_recurrent_weights_only():
    cell = rnn.ParaLSTM(6, 8, clip_at=0.1)
    wild = jax.tree.map(lambda a: 3 * jnp.ones_like(a), rnn.ParaLSTM(6, 8).init(jax.random.key(0)))
    clipped = cell.clip(wild)
    assert (clipped["a"] == 0.1).all()
    assert (clipped["p"] == 0.1).all()
    assert (clipped["B"] == 3).all()
    assert (rnn.ParaLSTM(6, 8).clip(wild)["a"] == 3).all()
    assert jnp.abs(cell.init(jax.random.key(0))["a"]).max() <= 0.1


def test_linear_twin_is_the_gru_without_recurrent_weights():
    gru, twin = rnn.ParaGRU(6, 8), rnn.LinearGRU(6, 8)
    params = gru.init(jax.random.key(0)) | {"a": jnp.zeros((3, 8))}
    keep = jnp.asarray([0, 2])
    x = jax.random.normal(jax.random.key(1), (20, 6))
    ours = rnn.solve(twin, {"B": params["B"][keep], "b": params["b"][keep]}, x, solver=rnn.Newton())
    close(ours.states, rnn.solve(gru, params, x, solver=rnn.Sequential()).states, atol=1e-13)
    assert ours.stats.iterations == 1


def test_a_normalised_gate_of_two_tiny_ones_is_finite():
    cell = rnn.MinLSTM(1, 1)
    u = jnp.asarray([[-800.0], [-801.0], [3.0]])
    value, J = cell.step_and_jacobian({}, jnp.ones(1), u)
    close(J.d, [sigmoid(1.0)], atol=1e-12)
    close(value, [3 - 2 * sigmoid(1.0)], atol=1e-12)


def test_minimal_lstm_in_parallel():
    cell, *data = problem("minimal", 300, "float64", (2,))
    result = rnn.solve(cell, *data, solver=rnn.Newton())
    assert (result.stats.iterations == 1).all()
    close(result.states, reference(cell, *data), atol=1e-12)


def test_ssd_is_attention_with_decay():
    """y_t = sum_{s <= t} (prod_{s < r <= t} a_r) (C_t . B_s) dt_s v_s: the quadratic form of the paper."""
    cell, params, x, _ = problem("ssd", 9, "float64", ())
    result = rnn.solve(cell, params, x, solver=rnn.Newton())
    a, write, B = (np.asarray(u) for u in cell.project(params, x))
    C = np.asarray(x @ params["W"])[:, cell.hidden_dim + cell.state_dim : -cell.heads]
    log_decay = np.cumsum(np.log(a), 0)
    exact = np.zeros((9, cell.heads, cell.head_dim))
    for t in range(9):
        for s in range(t + 1):
            exact[t] += (np.exp(log_decay[t] - log_decay[s]) * (C[t] @ B[s]))[:, None] * write[s]
    close(cell.outputs(params, result.states, x), exact.reshape(9, -1), atol=1e-13)
    dt = jax.nn.softplus(params["dt_bias"])
    assert ((dt >= 1e-3) & (dt <= 1e-1)).all()
    assert ((a > 0) & (a < 1)).all()
    with pytest.raises(ValueError, match="state_dim: 0"):
        rnn.SSD(6, 2, 3, 0)


def test_cells_are_values():
    assert rnn.ParaGRU(6, 8) == rnn.ParaGRU(6, 8)
    assert len({rnn.ParaGRU(6, 8), rnn.ParaGRU(6, 8), rnn.ParaGRU(6, 8, heads=2), rnn.ParaLSTM(6, 8)}) == 3
    assert {rnn.Newton(), rnn.Newton(), rnn.Newton(steps=3)} == {rnn.Newton(), rnn.Newton(steps=3)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_dim": 0}, "input_dim: 0"),
        ({"hidden_dim": 2.0}, "hidden_dim: 2.0"),
        ({"heads": 4}, "input_dim: 6, must be a multiple of heads = 4"),
        ({"heads": 3}, "hidden_dim: 8, must be a multiple of heads = 3"),
        ({"clip_at": 0.0}, "clip_at: 0.0"),
        ({"initialisation": "best"}, "initialisation: 'best'"),
    ],
)
def test_door(arguments, message):
    with pytest.raises(ValueError, match=message):
        rnn.ParaGRU(**({"input_dim": 6, "hidden_dim": 8} | arguments))
