"""Settings of XLA's CPU compiler that decide how fast every `lax.scan` runs there."""

import functools
import os

import jax
import jax.numpy as jnp
from jax import lax

_OPTION = "xla_cpu_small_while_loop_byte_threshold"
_BYTES = 1_000_000
_GROUP = "--xla_backend_extra_options="
_WIDTH = "--xla_cpu_prefer_vector_width"
_BITS = 512


def xla_flags(flags: str | None = None) -> str:
    """XLA_FLAGS with the settings that make loops fast on CPU: to be set before Python starts, or before jax is used.

    XLA compiles a loop into one kernel only if a step touches less than 1 KB; a larger one is taken apart, and every
    operation of every step is then dispatched for itself, at some 3 microseconds a step. The first setting raises that
    bound to 1 MB: 5 to 6 times less for a recurrence of 8 x 256 channels, backward passes too. The whole loop then runs
    on one thread, which is a loss only where one step is enough work for several.

    The second lets kernels use registers of 512 bits where the processor has them (AVX-512; elsewhere it changes
    nothing): XLA asks for 256. A scan of elementwise steps takes a third less, the whole of a solve a fifth.

    Results are the same up to rounding. `flags`: what is set already (default: the environment's XLA_FLAGS) and is
    kept, a threshold or a width among it too.
    """
    flags = os.environ.get("XLA_FLAGS", "") if flags is None else flags
    if _WIDTH not in flags:
        flags = f"{flags} {_WIDTH}={_BITS}".strip()
    if _OPTION in flags:
        return flags
    setting = f"{_OPTION}={_BYTES}"
    if _GROUP not in flags:
        return f"{flags} {_GROUP}{setting}"
    return " ".join(f"{f},{setting}" if f.startswith(_GROUP) else f for f in flags.split())


@functools.cache
def fast_loops_active() -> bool:
    """Whether this process compiles a loop of 4 KB a step into one kernel on CPU: read off a compiled program.

    XLA reads its flags once, so that the environment alone does not tell.
    """

    def loop(x: jax.Array) -> jax.Array:
        def body(h: jax.Array, x_t: jax.Array) -> tuple[jax.Array, jax.Array]:
            h = jnp.tanh(h) + x_t
            return h, h

        return lax.scan(body, x[0], x)[1]

    with jax.default_device(jax.devices("cpu")[0]):
        compiled = jax.jit(loop).lower(jnp.zeros((4, 512), jnp.float32)).compile()
    return 'xla_cpu_small_call="true"' in (compiled.as_text() or "")
