"""Time over four (virtual) devices: values and gradients of one, and what is communicated."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from workbench import rnn

MESH = Mesh(np.array(jax.devices("cpu")[:1]), ("time",))


@pytest.fixture(scope="module")
def told():
    """What the child with four devices says, by name."""
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    script = Path(__file__).parent / "four_devices.py"
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_affine_scan_is_that_of_one_device(told):
    assert len(told["scan"]) == 2 * 2 * 3  # structures, directions, lengths: 1, one that 4 does not divide, 64
    assert max(told["scan"].values()) < 1e-12


def test_states_and_gradients_are_those_of_one_device(told):
    assert set(told["states"]) == set(told["gradients"])
    assert {name.split()[0] for name in told["states"]} == {"Newton", "ShardedWarmStart"}
    assert max(told["states"].values()) < 1e-12
    assert max(told["gradients"].values()) < 1e-10


def test_a_newton_iteration_sends_one_gather_and_one_halo(told):
    """The maps of the stretches, and one state to the neighbour; the residual's maximum is the third."""
    assert told["collectives"] == {"all-gather": 1, "collective-permute": 1, "all-reduce": 1}


def test_warm_start_certifies_or_repeats(told):
    """Contracting: at once. Remembering all: a stretch an iteration; one is saved by an overlap from time 0."""
    assert told["iterations"] == {"forgets": 0, "remembers": 3, "overlaps from time 0": 2}
    assert told["exact"] < 1e-12


def test_hashable_by_value():
    again = rnn.Sharded(Mesh(np.array(jax.devices("cpu")[:1]), ("time",)), "time")
    assert again == rnn.Sharded(MESH, "time")
    assert hash(again) == hash(rnn.Sharded(MESH, "time"))
    assert rnn.Sharded(MESH, "time", rnn.Serial()) != rnn.Sharded(MESH, "time")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rnn.Sharded(MESH, "devices"), "axis: 'devices'"),
        (lambda: rnn.Sharded(jax.devices(), "time"), "mesh: list"),
        (lambda: rnn.Sharded(MESH, "time", rnn.Sharded(MESH, "time")), "local: Sharded"),
        (lambda: rnn.ShardedWarmStart(MESH, "devices"), "axis: 'devices'"),
        (lambda: rnn.ShardedWarmStart(MESH, "time", overlap=-1), "overlap: -1"),
        (lambda: rnn.ShardedWarmStart(MESH, "time", steps=0), "steps: 0"),
    ],
)
def test_door(call, message):
    with pytest.raises(ValueError, match=message):
        call()
