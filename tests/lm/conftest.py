"""Fresh models, initialised once a configuration."""

import functools

import jax
import jax.numpy as jnp
import pytest
from lm_table import config

from workbench import lm


@functools.cache
def made(name, **changes):
    cfg = config(name, **changes)
    return lm.init(cfg, jax.random.key(1), jnp.float64)


@pytest.fixture
def model():
    """(name, **changes) -> a fresh model in float64."""
    return made
