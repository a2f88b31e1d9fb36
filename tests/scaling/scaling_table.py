"""The contract's table: a new form joins by one row, its name and parameters that make sense for it."""

import math

import jax.numpy as jnp
import numpy as np

from workbench import scaling

N, P = (a.ravel() for a in np.meshgrid(np.geomspace(0.5e9, 4.5e9, 6), [1.0, 2.0, 4.0, 8.0]))


def _either_sign(params, N, P):
    return params["E"] + params["A"] * (N / 1e9) ** -params["a"] + params["slope"] * jnp.log(P)


CUSTOM = scaling.CustomLaw(
    _either_sign,
    ("E", "A", "a", "slope"),
    starts={"E": (0.4, 1.0), "A": (0.1, 0.5), "a": (0.1, 0.5), "slope": (-0.1, 0.0, 0.1)},
    lower={"E": 1e-8, "A": 1e-8, "a": 1e-8, "slope": -math.inf},
)
TRUTH = {
    scaling.ChinchillaLaw(): {"E": 0.7, "A": 1.2e7, "alpha": 0.2},
    scaling.ParScaleLaw(): {"E": 0.69, "A": 1.13e7, "alpha": 0.19, "k": 0.39},
    scaling.PowerProductLaw(): {"E": 0.7, "A": 0.42, "a": 0.25, "b": 0.07},
    scaling.InverseRootLaw(): {"E": 0.6, "A": 0.42, "a": 0.25, "G": 0.08},
    scaling.TheoryLaw(): {"E": 0.7, "A": 1.2e7, "alpha": 0.2, "rho": 0.8},
    CUSTOM: {"E": 0.7, "A": 0.42, "a": 0.25, "slope": -0.03},
}


def losses(form, noise=0.0, seed=0):
    """24 runs whose loss is the form's, with normal noise in ln L."""
    loss = np.asarray(form.loss(TRUTH[form], N, P))
    return scaling.Losses(
        N, P, loss * np.exp(noise * np.random.default_rng(seed).normal(size=N.size)), name="synthetic"
    )
