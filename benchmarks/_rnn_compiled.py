"""A method of either JAX child, compiled ahead of time. Imported after `_wire.pin`, because it imports JAX."""

import time
from collections.abc import Callable
from typing import Any

import jax


def compiled(states: Callable, direction: str, params: dict, x: Any) -> tuple[Callable[[], Any], dict, Any]:
    """(work, {compile_s, first_s}, its result): states, or the loss with its gradients by params and x."""
    work = jax.jit(states)
    if direction == "forward+backward":
        work = jax.jit(jax.value_and_grad(lambda p, x: (states(p, x) ** 2).mean(), argnums=(0, 1)))
    began = time.perf_counter()
    program = work.lower(params, x).compile()
    told: dict[str, Any] = {"compile_s": time.perf_counter() - began}
    call = lambda: jax.block_until_ready(program(params, x))
    began = time.perf_counter()
    out = call()
    told["first_s"] = time.perf_counter() - began
    return call, told, out
