"""The Jacobian algebra against dense matrices, and the affine scans against the plain loop and against each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rnn_table import SCANS, close

from workbench import rnn

STRUCTURES = ["diagonal", "block2", "block3", "block5", "dense"]
STATE = {"diagonal": (6,), "block2": (3, 2), "block3": (2, 3), "block5": (2, 5), "dense": (3, 2)}


def make(structure, seed, *lead):
    rng = np.random.default_rng(seed)
    shape = STATE[structure]
    if structure == "diagonal":
        return rnn.Diagonal(jnp.asarray(rng.uniform(-0.9, 0.9, (*lead, *shape))))
    groups, k = (1, 6) if structure == "dense" else shape
    return rnn.Block(jnp.asarray(rng.normal(size=(*lead, groups, k, k)) * 0.5 / np.sqrt(k)))


def matrix(J):
    """The full matrix of one structured Jacobian."""
    if isinstance(J, rnn.Diagonal):
        return np.diag(np.asarray(J.d))
    groups, k = J.m.shape[-3:-1]
    full = np.zeros((groups * k, groups * k))
    for g in range(groups):
        full[g * k : (g + 1) * k, g * k : (g + 1) * k] = J.m[g]
    return full


def loop(J, b, initial, reverse=False):
    """The recurrence in NumPy, one step after the other."""
    out, delta = np.zeros(b.shape), np.asarray(initial).ravel()
    times = range(b.shape[0])
    for t in reversed(times) if reverse else times:
        delta = matrix(J[t]) @ delta + np.asarray(b[t]).ravel()
        out[t] = delta.reshape(b.shape[1:])
    return out


@pytest.mark.parametrize("structure", STRUCTURES)
def test_algebra_is_that_of_matrices(structure):
    A, B, v = (
        make(structure, 0),
        make(structure, 1),
        jnp.asarray(np.random.default_rng(2).normal(size=STATE[structure])),
    )
    close(matrix(A.compose(B)), matrix(A) @ matrix(B), atol=1e-14)
    close(matrix(A.transpose()), matrix(A).T, atol=0)
    close(matrix(A.identity()), np.eye(6 if structure != "block5" else 10), atol=0)
    close(A.apply(v).ravel(), matrix(A) @ v.ravel(), atol=1e-14)
    close(matrix(A.abs()), np.abs(matrix(A)), atol=0)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 6])
def test_a_block_is_its_matrices_however_it_is_held(k):
    m = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2, k, k)))
    J = rnn.Block(m)
    close(J.m, m, atol=0)
    assert (J.k, J.shape, J.dtype) == (k, m.shape, m.dtype)
    assert all(leaf.shape[:2] == (5, 2) for leaf in jax.tree.leaves(J))  # time and groups lead in every leaf
    close(rnn.Block.from_entries(k, tuple(jax.tree.leaves(J))).m, m, atol=0)
    close(J[1:3].m, m[1:3], atol=0)
    assert jax.eval_shape(lambda J: J.transpose(), J).shape == m.shape


@given(seed=st.integers(0, 2**16), structure=st.sampled_from(STRUCTURES))
@settings(max_examples=20, deadline=None)
def test_compose_is_associative(seed, structure):
    A, B, C = (make(structure, seed + i) for i in range(3))
    close(matrix(A.compose(B).compose(C)), matrix(A.compose(B.compose(C))), atol=1e-13)


def test_zero_first_and_adjoint():
    J = make("block2", 0, 4)
    assert not J.zero_first().m[0].any()
    close(J.zero_first().m[1:], J.m[1:], atol=0)
    close(J.adjoint().m[:3], np.swapaxes(J.m[1:], -1, -2), atol=0)
    assert not J.adjoint().m[3].any()


@functools.partial(jax.jit, static_argnums=(3, 4))
def compiled(J, b, initial, backend, reverse):
    return rnn.affine_scan(J, b, initial=initial, backend=backend, reverse=reverse)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("structure", ["diagonal", "block2", "dense"])
def test_backends_equal_the_loop(scan, reverse, structure):
    J, rng = make(structure, 3, 13), np.random.default_rng(4)
    b, initial = jnp.asarray(rng.normal(size=(13, *STATE[structure]))), jnp.asarray(rng.normal(size=STATE[structure]))
    close(compiled(J, b, initial, SCANS[scan], reverse), loop(J, b, initial, reverse), atol=1e-13)


@given(length=st.integers(1, 20), chunk=st.integers(1, 25), reverse=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_any_length_any_chunk(length, chunk, reverse, seed):
    J, b = make("diagonal", seed, length), jnp.asarray(np.random.default_rng(seed).normal(size=(length, 6)))
    result = rnn.TwoLevel(chunk)(J, b, reverse=reverse)
    close(result, loop(J, b, np.zeros(6), reverse), atol=1e-13)


@pytest.mark.parametrize(("length", "rounds"), [(1, 0), (2, 1), (8, 3), (9, 4)])
def test_hillis_steele_takes_the_papers_number_of_rounds(length, rounds):
    J, b = make("diagonal", 0, length), jnp.ones((length, 6))
    jaxpr = jax.make_jaxpr(lambda J, b: rnn.HillisSteele()(J, b))(J, b)
    loops = [eqn.params["length"] for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]
    assert sum(loops) == rounds


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("reverse", [False, True])
def test_transpose_is_the_adjoint_scan_backwards(scan, reverse):
    J, rng = make("block2", 5, 9), np.random.default_rng(6)
    b, g = (jnp.asarray(rng.normal(size=(9, 3, 2))) for _ in range(2))
    forward = lambda b: rnn.affine_scan(J, b, backend=SCANS[scan], reverse=reverse)
    (transposed,) = jax.jit(lambda g: jax.linear_transpose(forward, b)(g))(g)
    close((transposed * b).sum(), (g * forward(b)).sum(), atol=1e-12)
    if not reverse:
        close(transposed, rnn.affine_scan(J.adjoint(), g, reverse=True, backend=SCANS[scan]), atol=1e-13)


@pytest.mark.parametrize("scan", SCANS)
def test_differentiable_in_everything(scan):
    J, rng = make("block2", 7, 9), np.random.default_rng(8)
    data = (J, jnp.asarray(rng.normal(size=(9, 3, 2))), jnp.asarray(rng.normal(size=(3, 2))))

    def plain(J, b, initial):
        def body(delta, step):
            delta = step[0].apply(delta) + step[1]
            return delta, delta

        return (jax.lax.scan(body, initial, (J, b))[1] ** 2).sum()

    ours = lambda J, b, initial: (rnn.affine_scan(J, b, initial=initial, backend=SCANS[scan]) ** 2).sum()
    mine, expected = (jax.jit(jax.grad(f, (0, 1, 2)))(*data) for f in (ours, plain))
    close(mine, expected, atol=1e-12)


def test_what_stands_at_the_edge_never_counts():
    J = rnn.Diagonal(jnp.full((5, 2), 0.5).at[0].set(jnp.inf))
    assert jnp.isfinite(rnn.affine_scan(J, jnp.ones((5, 2)))).all()


def test_a_sequence_that_is_not_finite_leaves_the_others_alone():
    J, b = make("diagonal", 9, 20), jnp.ones((20, 6)).at[7, 2].set(jnp.nan)
    clean, others = rnn.affine_scan(J, jnp.ones((20, 6))), jnp.asarray([0, 1, 3, 4, 5])
    for scan in SCANS.values():
        delta = compiled(J, b, jnp.zeros(6), scan, False)
        close(delta[:, others], clean[:, others], atol=1e-14)
        assert jnp.isnan(delta[7:, 2]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rnn.TwoLevel(chunk=0), "chunk: 0"),
        (lambda: rnn.TwoLevel(chunk=2.0), "chunk: 2.0"),
        (lambda: rnn.TwoLevel(carries=3), "carries: 3"),
        (lambda: rnn.Block(jnp.ones((3, 2, 4))), "m: shape"),
        (lambda: rnn.affine_scan(rnn.Diagonal(jnp.ones((3, 2))), jnp.ones((4, 2))), "J: 3 steps"),
        (lambda: rnn.affine_scan(rnn.Diagonal(jnp.ones((0, 2))), jnp.ones((0, 2))), "b: shape"),
        (lambda: rnn.affine_scan(jnp.ones((3, 2)), jnp.ones((3, 2))), "J: "),
        (
            lambda: rnn.affine_scan(rnn.Diagonal(jnp.ones((3, 2))), jnp.ones((3, 2)), initial=jnp.ones(3)),
            "initial: shape",
        ),
    ],
)
def test_door(call, message):
    with pytest.raises(ValueError, match=message):
        call()
