"""Counts against numbers worked out by hand."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from workbench.hardware import counts

A, B = jnp.ones((3, 4), jnp.float32), jnp.ones((4, 5), jnp.float32)
SQUARE = jnp.ones((4, 4), jnp.float32)


def test_a_matrix_product():
    c = counts(jnp.matmul, A, B)
    assert (c.flops, c.transcendentals, c.depth, c.loop_trips) == (2 * 3 * 4 * 5, 0, 1, 0)
    assert c.bytes == 4 * (12 + 20 + 15)
    assert c.exact


def test_a_scan_of_products_counts_its_body_as_often_as_it_runs():
    def powers(a):
        return lax.scan(lambda h, _: (h @ a, None), a, None, length=7)[0]

    c = counts(powers, SQUARE)
    assert (c.flops, c.depth, c.loop_trips) == (7 * 2 * 4**3, 7, 7)
    reported = jax.jit(powers).lower(SQUARE).compile().cost_analysis()["flops"]
    assert reported < c.flops  # what XLA says counts the body once: the reason why this function exists


def test_nested_scans_multiply():
    def inner(h, _):
        return lax.scan(lambda h, _: (jnp.tanh(h) * 0.5, None), h, None, length=5)[0], None

    c = counts(lambda h: lax.scan(inner, h, None, length=3)[0], jnp.ones(8))
    assert (c.flops, c.transcendentals) == (15 * 8, 15 * 8)
    assert (c.depth, c.loop_trips) == (30, 15)


def test_a_fori_loop_of_constant_bounds_is_a_scan():
    c = counts(lambda a: lax.fori_loop(2, 12, lambda i, a: a * 2.0, a), 1.0)
    assert (c.flops, c.loop_trips, c.exact) == (10, 10, True)


def test_depth_follows_what_the_loop_carries_only():
    """Twenty trips that need one another through one addition; the exponentials in each trip wait for nobody."""

    def body(h, x):
        return h + jnp.exp(jnp.exp(x)), None

    c = counts(lambda x: lax.scan(body, 0.0, x)[0], jnp.ones(20))
    assert (c.depth, c.loop_trips, c.transcendentals) == (2 + 20, 20, 40)


def test_depth_of_two_carries_that_feed_one_another():
    def body(carry, _):
        a, b = carry
        return (b + 1.0, jnp.exp(jnp.exp(a))), None  # a pair of trips is three operations deep

    c = counts(lambda a: lax.scan(body, (a, a), None, length=100)[0], 1.0)
    assert 150 <= c.depth <= 152


@pytest.mark.parametrize("length", [64, 1024])
def test_an_associative_scan_does_twice_the_work_in_logarithmic_depth(length):
    def add(x):
        return lax.associative_scan(jnp.add, x)

    loop = lambda x: lax.scan(lambda h, x: (h + x, h), 0.0, x)
    tree, serial = counts(add, jnp.ones(length)), counts(loop, jnp.ones(length))
    assert serial.flops == length == serial.depth
    # 2T - log2 T - 2 additions; joining the two halves of each level is additions, too: at most 2T more
    assert 2 * length - 2 * length.bit_length() <= tree.flops <= 4 * length
    assert tree.depth <= 3 * length.bit_length()
    assert tree.loop_trips == 0


def test_an_unknown_number_of_trips_is_told():
    def halve(x):
        return lax.while_loop(lambda x: x > 1.0, lambda x: 0.5 * x, x)

    c = counts(halve, 100.0)
    assert c.at_least
    assert "not known" in c.notes[0]
    assert "at least" in str(c)
    told = counts(halve, 100.0, while_trips=7)
    assert not told.at_least
    assert (told.flops, told.loop_trips) == (7 + 8, 7)


def test_a_cond_counts_its_costliest_branch_and_says_so():
    c = counts(lambda x: lax.cond(x.sum() > 0, lambda x: x + x * x, lambda x: x, x), jnp.ones(8))
    assert c.flops == 8 + 1 + 16
    assert "costliest branch" in c.notes[0]
    assert not c.at_least


def test_a_primitive_without_a_rule_is_noted():
    c = counts(jnp.linalg.cholesky, jnp.eye(4))
    assert any(note.startswith("cholesky") for note in c.notes)


def test_inside_custom_derivatives_checkpoint_and_jit():
    f = jax.checkpoint(jax.jit(lambda x: jax.nn.silu(x) @ x))
    c = counts(jax.grad(lambda x: f(x)), jnp.ones(16))
    assert c.flops >= 2 * 2 * 16
    assert c.transcendentals >= 16
    assert c.exact


def test_the_gradient_of_a_scan_counts_both_ways():
    loss = lambda h, x: lax.scan(lambda h, x: (jnp.tanh(h + x), None), h, x)[0]
    forward, both = counts(loss, 0.5, jnp.ones(100)), counts(jax.grad(loss), 0.5, jnp.ones(100))
    assert (forward.loop_trips, both.loop_trips) == (100, 200)
    assert both.depth > 2 * forward.depth


@pytest.mark.parametrize("trips", [-1, 1.5, True])
def test_trips_at_the_door(trips):
    with pytest.raises(ValueError, match="while_trips"):
        counts(lambda x: x, 1.0, while_trips=trips)


COLLECTIVES = """
import jax, jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, PartitionSpec as P
from workbench.hardware import counts

mesh = jax.make_mesh((4,), ("time",), axis_types=(AxisType.Auto,))

def local(x):
    gathered = lax.all_gather(x.sum(0), "time")
    halo = lax.ppermute(x[-1:], "time", [(i, i + 1) for i in range(3)])
    total = lax.scan(lambda h, _: (h * lax.psum(h, "time"), None), x[0], None, length=5)[0]
    return x + gathered.sum(0)[None] + halo + total[None]

f = jax.shard_map(local, mesh=mesh, in_specs=P("time"), out_specs=P("time"), check_vma=CHECK)
c = counts(f, jnp.ones((16, 8), jnp.float32))
assert [(k.kind, k.count, k.bytes) for k in c.collectives] == [
    ("all_gather", 1, 32), ("ppermute", 1, 32), ("psum", 5, 160)], c
assert c.flops == 4 * 8 + 4 * 8 + 3 * 32 + 5 * 8, c  # its own sum, the sum of all, three additions, the loop
"""


@pytest.mark.parametrize("check", [True, False])
def test_collectives_of_one_of_four_devices(check):
    flags = "import os; os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=4'\n"
    code = flags + COLLECTIVES.replace("CHECK", str(check))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
