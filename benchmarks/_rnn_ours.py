"""The child that measures ours and plain JAX; see `_wire` for how it is spoken to."""

import functools
import time
from collections.abc import Callable
from typing import Any

import _wire as wire

CORES = wire.pin()  # before JAX counts the cores

import _rnn_methods as methods  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from _rnn_compiled import compiled  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402

from workbench import rnn  # noqa: E402

jax.config.update("jax_enable_compilation_cache", False)  # the time of compiling is measured


def by_hand(cell: str, params: dict, h: Any, u: Any) -> Any:
    """One step of the cell as anyone would write it for `lax.scan`: u (batch, gates, dim) is B x + b."""
    a = params["a"][:, None]
    if cell == "ParaGRU":
        z = jax.nn.sigmoid(a[0] * h + u[:, 0])
        r = jax.nn.sigmoid(a[1] * h + u[:, 1])
        return (1 - z) * h + z * jnp.tanh(a[2] * (h * r) + u[:, 2])
    p, (c, h) = params["p"][:, None], (h[..., 0], h[..., 1])
    f = jax.nn.sigmoid(a[0] * h + p[0] * c + u[:, 0])
    c = f * c + (1 - f) * jnp.tanh(a[1] * h + u[:, 1])
    o = jax.nn.sigmoid(a[2] * h + p[1] * c + u[:, 2])
    return jnp.stack([c, o * jnp.tanh(c)], -1)


def project(params: dict, x: Any) -> Any:
    """u = B x + b for all times, (batch, time, dim) -> (time, batch, gates, dim)."""
    u = jnp.einsum("bti,gio->tbgo", x, params["B"][:, 0], precision=jax.lax.Precision.HIGHEST)
    return u + params["b"][None, None]


def start(cell: str, x: Any) -> Any:
    """h_0 = 0."""
    shape = (x.shape[0], x.shape[2]) if cell == "ParaGRU" else (x.shape[0], x.shape[2], 2)
    return jnp.zeros(shape, x.dtype)


def lax_scan(cell: str, params: dict, x: Any) -> Any:
    """The plain way: states (batch, time, ...)."""

    def body(h: Any, u: Any) -> tuple:
        h = by_hand(cell, params, h, u)
        return h, h

    return jnp.moveaxis(jax.lax.scan(body, start(cell, x), project(params, x))[1], 0, 1)


def loop(cell: str, sliced_before: bool, params: dict, x: Any) -> tuple[Callable[[], Any], dict, Any]:
    """A Python loop over a jitted step; cutting the inputs into steps is inside the time, or before it."""
    step = jax.jit(functools.partial(by_hand, cell))
    u = jax.jit(project)(params, x)
    inputs = list(u) if sliced_before else u

    def call() -> Any:
        h, states = start(cell, x), []
        for t in range(len(u)):
            h = step(params, h, inputs[t])
            states.append(h)
        return jax.block_until_ready(states)

    began = time.perf_counter()
    states = call()
    return call, {"compile_s": 0.0, "first_s": time.perf_counter() - began}, jnp.stack(states, 1)


def solved(method: str, case: dict, params: dict, x: Any) -> tuple[Callable[[], Any], dict, Any]:
    """One of our solvers, at the fastest of its settings."""
    cell = getattr(rnn, case["cell"])(input_dim=case["dim"], hidden_dim=case["dim"])
    best: tuple | None = None
    for solver, scan in methods.SOLVERS[method](rnn, case["time"]):
        options: dict[str, Any] = {"solver": solver, "scan": scan, "on_failure": "return"}
        states = lambda p, x, options=options: rnn.solve(cell, p, x, **options).states
        found = compiled(states, case["direction"], params, x)
        taken = min(wire.seconds(found[0], 1) for _ in range(3))
        if best is None or taken < best[0]:
            best = (taken, found, options)
    assert best is not None
    _, (call, told, out), options = best
    result = rnn.solve(cell, params, x, **options)
    told |= {
        "chosen": str(result.solver),
        "iterations": int(np.max(result.stats.iterations)),
        "residual": float(np.max(result.stats.residual)),
        "status": str(result.status),
    }
    return call, told, out


def sharded(method: str, case: dict, params: dict, x: Any) -> tuple[Callable[[], Any], dict, Any]:
    """A solver with the time axis over two devices."""
    if len(jax.devices()) < 2:
        raise wire.Refused("needs two devices")
    mesh = Mesh(np.array(jax.devices()[:2]), ("time",))
    solver, scan = methods.SHARDED[method][1](rnn, mesh), rnn.Sharded(mesh, "time")
    cell = rnn.ParaGRU(input_dim=case["dim"], hidden_dim=case["dim"])
    x = jax.device_put(x, NamedSharding(mesh, PartitionSpec(None, "time", None)))
    params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    states = lambda p, x: rnn.solve(cell, p, x, solver=solver, scan=scan, on_failure="return").states
    return compiled(states, case["direction"], params, x)


def make(family: str, method: str, case: dict) -> tuple[Callable[[], Any], dict]:
    """Build a method for a case; tells how far its states are from the reference, or its loss and |dloss/dx|."""
    held = np.load(case["file"])
    params = {name: jnp.asarray(held[name]) for name in held.files if name != "x"}
    x = jnp.asarray(held["x"])
    if method in (methods.LOOP, methods.SLICED):
        if case["direction"] != "forward":
            raise wire.Refused("Python loops are measured forward only")
        call, told, out = loop(case["cell"], method == methods.SLICED, params, x)
    elif family == "sharded":
        call, told, out = sharded(method, case, params, x)
    elif method == methods.LAX_SCAN:
        call, told, out = compiled(functools.partial(lax_scan, case["cell"]), case["direction"], params, x)
    else:
        call, told, out = solved(method, case, params, x)
    if case["direction"] == "forward":
        told["error"] = float(np.abs(np.asarray(out) - np.load(case["reference"])).max())
    else:
        told |= {"loss": float(out[0]), "gradient_norm": float(jnp.linalg.norm(out[1][1]))}
    return call, told


def reference(case: dict) -> None:
    """Write `lax.scan`'s states of a case: what every process holds its own against."""
    held = np.load(case["file"])
    params = {name: jnp.asarray(held[name]) for name in held.files if name != "x"}
    states = jax.jit(functools.partial(lax_scan, case["cell"]))(params, jnp.asarray(held["x"]))
    np.save(case["reference"], np.asarray(states))


def main(family: str) -> None:
    """Serve."""

    def build(method: str, case: dict) -> tuple[Callable[[], Any], dict]:
        if method == "reference":
            reference(case)
            return (lambda: None), {}
        if method == "calibrate":
            rnn.calibrate()
            return (lambda: None), {}
        return make(family, method, case)

    wire.serve(
        build,
        {"cores": CORES, "jax": jax.__version__, "devices": len(jax.devices()), "fast_loops": rnn.fast_loops_active()},
    )


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
