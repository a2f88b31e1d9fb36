"""The child that measures the peers written in JAX (DEER, ELK), in their own environment; see `_wire`."""

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

import _wire as wire

CORES = wire.pin()  # before JAX counts the cores

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from _rnn_compiled import compiled  # noqa: E402

DENSE_LIMIT = 1 << 30
"""Bytes of one set of dense Jacobians above which nothing is tried: several copies of it are needed."""


def step(h: Any, u: Any, a: Any) -> Any:
    """ParaGRU, the same weights as everywhere: h (dim,), u (3, dim)."""
    z = jax.nn.sigmoid(a[0] * h + u[0])
    r = jax.nn.sigmoid(a[1] * h + u[1])
    return (1 - z) * h + z * jnp.tanh(a[2] * (h * r) + u[2])


def project(params: dict, x: Any) -> Any:
    """u = B x + b, (batch, time, 3, dim)."""
    u = jnp.einsum("bti,gio->btgo", x, params["B"][:, 0], precision=jax.lax.Precision.HIGHEST)
    return u + params["b"][None, None]


def deer(params: dict, x: Any) -> Any:
    """`seq1d` at its own tolerances; it knows dense Jacobians only."""
    seq1d = importlib.import_module("deer.fseq1d").seq1d
    start = jnp.zeros(x.shape[-1], x.dtype)
    return jax.vmap(lambda u: seq1d(step, start, u, params["a"]).value)(project(params, x))


def elk(params: dict, x: Any) -> Any:
    """Quasi-ELK, which is exact for diagonal Jacobians, at its own default of sigmasq."""
    elk_alg = importlib.import_module("elk.algs.elk").elk_alg
    start = jnp.zeros(x.shape[-1], x.dtype)

    def one(u: Any) -> Any:
        f = lambda h, drive: step(h, drive, params["a"])
        guess = jnp.zeros((u.shape[0], x.shape[-1]), x.dtype)
        return elk_alg(f, start, guess, u, num_iters=4, quasi=True)[-1, 1:]

    return jax.vmap(one)(project(params, x))


PEERS = {"DEER seq1d": deer, "elk, quasi, 4 iterations": elk}


def make(method: str, case: dict) -> tuple[Callable[[], Any], dict]:
    """Build a peer for a case; tells how far its states are from our reference, or its loss and |dloss/dx|."""
    if case["cell"] != "ParaGRU":
        raise wire.Refused("measured with ParaGRU only")
    dense = 4 * case["time"] * case["batch"] * case["dim"] ** 2
    if dense > DENSE_LIMIT:
        raise wire.Refused(f"its dense Jacobians alone are {dense / 1e9:.1f} GB, and several copies are needed")
    held = np.load(case["file"])
    params = {name: jnp.asarray(held[name]) for name in held.files if name != "x"}
    x = jnp.asarray(held["x"])
    call, told, out = compiled(PEERS[method], case["direction"], params, x)
    if case["direction"] == "forward":
        told["error"] = float(np.abs(np.asarray(out) - np.load(case["reference"])).max())
    else:
        told |= {"loss": float(out[0]), "gradient_norm": float(jnp.linalg.norm(out[1][1]))}
    return call, told


if __name__ == "__main__":
    versions = {name: importlib.metadata.version(name) for name in ("jax", "dynamax", "optimistix")}
    wire.serve(make, {"cores": CORES, **versions})
