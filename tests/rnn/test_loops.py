"""The settings of XLA that make loops fast on CPU: taken by the compiler, and harmless to results."""

import json
import os
import subprocess
import sys

import pytest

from workbench import rnn

CHILD = """
import json, jax, jax.numpy as jnp
from workbench import rnn

cell = rnn.ParaGRU(8, 32)
params, x = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (8, 50, 8))
states = lambda params: rnn.solve(cell, params, x, solver=rnn.Sequential()).states
compiled = jax.jit(jax.value_and_grad(lambda params: (states(params) ** 2).sum())).lower(params).compile()
value, gradient = compiled(params)
kernels = compiled.as_text().count('xla_cpu_small_call="true"')
told = {"value": float(value), "gradient": float(jnp.abs(gradient["B"]).sum()), "kernels": kernels}
print(json.dumps(told | {"active": rnn.fast_loops_active()}))
"""


def child(flags):
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    env |= {"XLA_FLAGS": flags} if flags else {}
    done = subprocess.run([sys.executable, "-c", CHILD], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_settings_change_the_program_and_not_the_result():
    plain, fast = child(None), child(rnn.xla_flags(""))
    assert (plain["active"], fast["active"]) == (False, True)
    assert fast["kernels"] > plain["kernels"]
    assert fast["value"] == pytest.approx(plain["value"], rel=1e-6)
    assert fast["gradient"] == pytest.approx(plain["gradient"], rel=1e-5)


LOOPS, WIDTH = "xla_cpu_small_while_loop_byte_threshold=1000000", "--xla_cpu_prefer_vector_width=512"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", f"{WIDTH} --xla_backend_extra_options={LOOPS}"),
        ("--a=1", f"--a=1 {WIDTH} --xla_backend_extra_options={LOOPS}"),
        ("--xla_backend_extra_options=b=2 --a=1", f"--xla_backend_extra_options=b=2,{LOOPS} --a=1 {WIDTH}"),
        (
            "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=7",
            f"--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=7 {WIDTH}",
        ),
        (
            "--xla_cpu_prefer_vector_width=128",
            f"--xla_cpu_prefer_vector_width=128 --xla_backend_extra_options={LOOPS}",
        ),
    ],
)
def test_flags_that_are_set_are_kept(given, told):
    assert rnn.xla_flags(given) == told


def test_flags_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--a=1")
    assert rnn.xla_flags().startswith("--a=1 ")
    monkeypatch.delenv("XLA_FLAGS")
    assert rnn.xla_flags() == rnn.xla_flags("")
