"""Recurrences that the tests of the solvers share."""

import jax
import jax.numpy as jnp
import numpy as np

from workbench import rnn

LOGISTIC = lambda h, x, r: r * h * (1 - h) + 0 * x
STATES = np.full((1000, 1), 0.3)


def logistic(r, solver, **options):
    options = {"guess": STATES, "on_failure": "return"} | options
    return rnn.solve(LOGISTIC, r, jnp.zeros((1000, 1)), jnp.full(1, 0.3), solver=solver, **options)


def mixing(h, x, w):
    return jnp.tanh(w @ h + x)


def dense(size=6, length=40, gain=0.5):
    keys = jax.random.split(jax.random.key(3), 3)
    w = gain * jax.random.normal(keys[0], (size, size)) / np.sqrt(size)
    return w, jax.random.normal(keys[1], (length, size)), jax.random.normal(keys[2], (size,))


def bidiagonal(A):
    """The matrix of delta_t - A_t delta_{t-1}, delta_0 = 0, stacked over time."""
    T, D, _ = A.shape
    L = np.eye(T * D)
    for t in range(1, T):
        L[t * D : (t + 1) * D, (t - 1) * D : t * D] = -A[t]
    return L
