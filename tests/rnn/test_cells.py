"""Cells: the equations against NumPy, the closed-form Jacobians against autodiff, heads, initialisation, clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import close

from workbench import rnn

CELLS = [rnn.ParaGRU(6, 8, heads=2), rnn.ParaLSTM(6, 8, heads=2), rnn.LinearGRU(6, 8, heads=2)]


def random_step(cell):
    keys = jax.random.split(jax.random.key(3), 4)
    params = cell.init(keys[0])
    params |= {name: jax.random.normal(keys[1], params[name].shape) for name in cell.recurrent}  # large weights
    h = jax.random.normal(keys[2], (5, *cell.state_shape))
    return params, h, cell.project(params, jax.random.normal(keys[3], (5, 6)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_step(cell, params, h, u):
    """The equations of the paper, written out."""
    params, h, u = jax.tree.map(np.asarray, (params, h, u))
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
        one = lambda h, u=u[i]: cell.step(params, h, u)
        full = jax.jacfwd(one)(h[i]).reshape(size, size)
        J = cell.jacobian(params, h[i], u[i])
        columns = jax.vmap(J.apply)(jnp.eye(size).reshape(size, *cell.state_shape)).reshape(size, size).T
        close(columns, full, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: type(c).__name__)
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
    ours = rnn.solve(twin, {"B": params["B"][keep], "b": params["b"][keep]}, x)
    close(ours.states, rnn.solve(gru, params, x, solver=rnn.Sequential()).states, atol=1e-13)
    assert ours.stats.iterations == 1


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
