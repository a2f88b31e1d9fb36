"""Run by test_sharded.py in a process with four devices; prints one line of JSON."""

import json
import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np

from workbench import rnn

jax.config.update("jax_enable_x64", True)
MESH = jax.sharding.Mesh(np.array(jax.devices()), ("time",))
SCAN = rnn.Sharded(MESH, "time", rnn.TwoLevel(chunk=4))


def distance(a, b):
    return max(float(np.abs(np.asarray(x) - y).max()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@jax.jit
def scans():
    """All in one program: each would be compiled for itself."""
    found, key = {}, jax.random.split(jax.random.key(0), 2)
    for length in (1, 13, 64):
        b = jax.random.normal(key[0], (length, 3, 2))
        d, m = (jax.random.uniform(key[1], (length, 3, *shape), minval=-0.9, maxval=0.9) for shape in ((2,), (2, 2)))
        for J in (rnn.Diagonal(d), rnn.Block(0.7 * m)):
            for reverse in (False, True):
                one, four = (rnn.affine_scan(J, b, backend=s, reverse=reverse) for s in (rnn.Serial(), SCAN))
                found[f"{type(J).__name__} {length} {reverse}"] = jnp.abs(one - four).max()
    return found


def solves():
    """ParaLSTM by Newton, ParaGRU by warm starts."""
    states, gradients = {}, {}
    for make, solver in ((rnn.ParaLSTM, rnn.Newton()), (rnn.ParaGRU, rnn.ShardedWarmStart(MESH, "time", overlap=4))):
        cell = make(6, 8, heads=2)
        params, x = jax.jit(cell.init)(jax.random.key(0)), jax.random.normal(jax.random.key(1), (3, 37, 6))

        def loss(params, solver, scan, cell=cell, x=x):
            h = rnn.solve(cell, params, x, solver=solver, scan=scan).states
            return (jnp.cos(jnp.arange(h.size)).reshape(h.shape) * h).sum(), h

        run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=(1, 2))
        (_, h), g = run(params, rnn.Sequential(), rnn.Serial())
        (_, mine), my_g = run(params, solver, SCAN)
        name = f"{type(solver).__name__} {make.__name__}"
        states[name], gradients[name] = distance(h, mine), distance(g, my_g)
    return states, gradients


def collectives():
    """In the body of Newton's loop."""
    cell = rnn.ParaLSTM(6, 8)
    params, x = cell.init(jax.random.key(0)), jnp.ones((3, 64, 6))
    solve = lambda params, x: rnn.solve(cell, params, x, solver=rnn.Newton(), scan=SCAN).states
    text = jax.jit(solve).lower(params, x).compile().as_text()
    names = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    lines = [line for line in text.splitlines() if "/while/body/" in line]
    return Counter(found[1] for line in lines if (found := re.search(rf" ({names})(?:-start)?\(", line)))


def warm_starts():
    keep = lambda h, x, a: a * h + x
    x, h0 = jax.random.normal(jax.random.key(0), (64, 3)), jnp.ones(3)
    iterations, worst = {}, 0.0
    for name, a, overlap in (("forgets", 0.01, 12), ("remembers", 1.0, 12), ("overlaps from time 0", 1.0, 100)):
        mine = rnn.solve(keep, a, x, h0, solver=rnn.ShardedWarmStart(MESH, "time", overlap=overlap), scan=SCAN)
        iterations[name] = int(mine.stats.iterations)
        worst = max(worst, distance(mine.states, rnn.solve(keep, a, x, h0, solver=rnn.Sequential()).states))
    return iterations, worst


if __name__ == "__main__":
    states, gradients = solves()
    iterations, exact = warm_starts()
    found = {name: float(value) for name, value in scans().items()}
    told = {"scan": found, "states": states, "gradients": gradients, "collectives": collectives()}
    print(json.dumps(told | {"iterations": iterations, "exact": exact}))
