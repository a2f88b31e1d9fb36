"""Dense cells: torch's equations and weights, closed-form Jacobians, heads, memory, exactness near the edge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import close, problem, reference

from workbench import rnn

CELLS = {
    "rnn": rnn.RNN(3, 4),
    "relu": rnn.RNN(3, 4, heads=2, nonlinearity="relu"),
    "gru": rnn.GRU(3, 4),
    "gru-heads": rnn.GRU(3, 4, heads=2),
    "lstm": rnn.LSTM(3, 4),
    "lstm-heads": rnn.LSTM(3, 4, heads=2),
}
every_cell = pytest.mark.parametrize("cell", list(CELLS.values()), ids=list(CELLS))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def full_recurrent(cell, weight):
    """weight_hh as torch would hold it: zeros between heads."""
    full = np.zeros((cell.gates, cell.hidden_dim, cell.hidden_dim))
    for head in range(cell.heads):
        own = slice(head * cell.head_dim, (head + 1) * cell.head_dim)
        full[:, own, own] = weight.reshape(cell.gates, cell.hidden_dim, cell.head_dim)[:, own]
    return full


def torch_step(cell, params, h, x):
    """The equations of torch's documentation, for one state and one input."""
    params, h, x = jax.tree.map(np.asarray, (params, h, x))
    hidden = h[:, 1] if isinstance(cell, rnn.LSTM) else h
    into = (params["weight_ih"] @ x + params["bias_ih"]).reshape(cell.gates, -1)
    across = full_recurrent(cell, params["weight_hh"]) @ hidden + params["bias_hh"].reshape(cell.gates, -1)
    if isinstance(cell, rnn.GRU):
        r, z = sigmoid(into[0] + across[0]), sigmoid(into[1] + across[1])
        return (1 - z) * np.tanh(into[2] + r * across[2]) + z * h
    total = into + across
    if isinstance(cell, rnn.RNN):
        return np.tanh(total[0]) if cell.nonlinearity == "tanh" else np.maximum(total[0], 0)
    c = sigmoid(total[1]) * h[:, 0] + sigmoid(total[0]) * np.tanh(total[2])
    return np.stack([c, sigmoid(total[3]) * np.tanh(c)], -1)


def example(cell):
    keys = jax.random.split(jax.random.key(5), 3)
    params = jax.tree.map(lambda a: 2 * a, cell.init(keys[0]))
    return params, jax.random.normal(keys[1], (5, *cell.state_shape)), jax.random.normal(keys[2], (5, 3))


@every_cell
def test_step_is_torchs(cell):
    params, h, x = example(cell)
    ours = cell.step(params, h, cell.project(params, x))
    close(ours, np.stack([torch_step(cell, params, h[i], x[i]) for i in range(5)]), atol=1e-14)
    assert cell.read(h).shape == (5, 4)


@every_cell
def test_jacobian_and_its_blocks_are_autodiffs(cell):
    params, h, x = example(cell)
    u, size = cell.project(params, x), int(np.prod(cell.state_shape))
    full = jax.vmap(jax.jacfwd(lambda h, u: cell.step(params, h, u)))(h, u).reshape(5, size, size)
    value, J = cell.step_and_jacobian(params, h, u)
    close(value, cell.step(params, h, u), atol=1e-15)
    assert J.k == size // cell.heads
    columns = jax.vmap(lambda v: J.apply(jnp.broadcast_to(v, h.shape)))(jnp.eye(size).reshape(size, 1, *h.shape[1:]))
    close(jnp.moveaxis(columns.reshape(size, 5, size), 0, -1), full, atol=1e-14)
    for k in (1, 2, 4):
        exact = jnp.stack([full[:, i : i + k, i : i + k] for i in range(0, size, k)], 1)
        J = cell.block_diagonal(params, h, u, k)[1]
        close(J.d.reshape(exact.shape) if k == 1 else J.m, exact, atol=1e-14)


def test_weights_of_torch_are_loaded():
    """A state_dict of torch.nn.GRU(3, 4) by its names; the torch equations are checked above."""
    cell = rnn.GRU(3, 4)
    params = cell.init(jax.random.key(0), jnp.float32)
    saved = {f"{name}_l0": np.asarray(a) for name, a in params.items()} | {"weight_ih_l1": np.zeros((12, 4))}
    loaded, weights = rnn.GRU.from_torch(saved)
    assert loaded == cell
    close(weights, params, atol=0)
    assert weights["weight_hh"].dtype == jnp.float32
    without = {name: a for name, a in saved.items() if "bias" not in name}
    assert not rnn.GRU.from_torch(without)[1]["bias_hh"].any()
    relu, _ = rnn.RNN.from_torch({f"weight_{n}_l2": np.zeros((4, 4)) for n in ("ih", "hh")}, 2, nonlinearity="relu")
    assert relu == rnn.RNN(4, 4, nonlinearity="relu")


def test_initialisation_is_torchs():
    params = rnn.LSTM(3, 64).init(jax.random.key(0))
    for a in params.values():
        assert 0.9 / 8 < jnp.abs(a).max() <= 1 / 8
        assert abs(a.mean()) < 0.03
    assert params["weight_hh"].shape == (256, 64)
    assert rnn.LSTM(3, 64, heads=4).init(jax.random.key(0))["weight_hh"].shape == (256, 16)


def test_elman_in_parallel():
    cell, *data = problem("elman", 200, "float64", (2,))
    close(rnn.solve(cell, *data, solver=rnn.Newton()).states, reference(cell, *data), atol=1e-12)


def test_too_large_jacobians_are_refused_before_they_are_allocated():
    cell = rnn.LSTM(4, 512)
    params = jax.eval_shape(lambda key: cell.init(key, jnp.float32), jax.random.key(0))
    x = jax.ShapeDtypeStruct((8, 4096, 4), jnp.float32)
    traced = lambda solver: jax.eval_shape(lambda p, x: rnn.solve(cell, p, x, solver=solver).states, params, x)
    message = r"memory: the dense Jacobians of 32768 steps take 137\.4 GB \(1 x 1024 x 1024"
    with pytest.raises(ValueError, match=message):
        traced(rnn.Newton())
    for solver in (rnn.Sequential(), rnn.QuasiNewton()):
        assert traced(solver).shape == (8, 4096, 512, 2)
    small = rnn.LSTM(3, 4, memory_limit_bytes=1000)
    weights, _, x = example(small)
    with pytest.raises(ValueError, match=r"above the limit of 0\.0 GB"):
        rnn.solve(small, weights, x, solver=rnn.Newton())


@pytest.mark.parametrize("solver", [rnn.Newton(), rnn.MultipleShooting(chunks=20)], ids=str)
def test_exact_near_spectral_radius_one(solver):
    """Orthogonal recurrent weights and gates that keep: products of Jacobians stay near 1 over all of 2000 steps."""
    cell = rnn.GRU(3, 6)
    params = cell.init(jax.random.key(0))
    orthogonal = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (6, 6)))[0]
    params |= {"weight_hh": jnp.tile(orthogonal, (3, 1)), "bias_ih": params["bias_ih"].at[6:12].set(4.0)}
    x, h0 = 0.1 * jax.random.normal(jax.random.key(2), (2000, 3)), 0.5 * jnp.ones(6)
    run = lambda *data: rnn.solve(cell, *data, solver=solver, max_steps=100)

    def loss(states):  # the far end only: its gradient has to travel all the way
        return lambda *data: (jnp.cos(states(*data)[-1]).sum() + states(*data)[1000].sum(), states(*data))

    gradient = lambda states: jax.jit(jax.value_and_grad(loss(states), (0, 1, 2), has_aux=True))(params, x, h0)
    (_, mine), ours = gradient(lambda *data: run(*data).states)
    (_, states), exact = gradient(lambda *data: reference(cell, *data))
    exponent = rnn.solve(cell, params, x, h0, solver=rnn.Sequential()).stats.lyapunov
    assert abs(exponent) < 0.03
    close(mine, states, atol=1e-11)
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(exact))
    close(ours, exact, atol=1e-10 * scale)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rnn.GRU(3, 0), "hidden_dim: 0"),
        (lambda: rnn.GRU(True, 4), "input_dim: True"),
        (lambda: rnn.LSTM(3, 4, heads=3), "hidden_dim: 4, must be a multiple of heads = 3"),
        (lambda: rnn.RNN(3, 4, nonlinearity="gelu"), "nonlinearity: 'gelu'"),
        (lambda: rnn.RNN(3, 4, memory_limit_bytes=0), "memory_limit_bytes: 0"),
        (lambda: rnn.GRU.from_torch({"weight_ih_l0": np.zeros((12, 3))}), "must hold weight_ih_l0 and weight_hh_l0"),
        (lambda: rnn.GRU.from_torch(TORCH_LSTM), "must be the 3 gates of GRU"),
        (lambda: rnn.LSTM.from_torch(TORCH_LSTM | {"weight_hr_l0": np.zeros((2, 5))}), "no weight_hr"),
        (lambda: rnn.GRU(3, 4).check(rnn.LSTM(3, 4).init(jax.random.key(0)), jnp.zeros((5, 3))), "params"),
        (lambda: rnn.LSTM(3, 6).block_diagonal({}, jnp.zeros((6, 2)), None, 3), "k: 3, must be 1 or even"),
    ],
)
def test_door(call, message):
    with pytest.raises(ValueError, match=message):
        call()


TORCH_LSTM = {"weight_ih_l0": np.zeros((20, 3)), "weight_hh_l0": np.zeros((20, 5))}
