"""What single primitives of a jaxpr do: operations, moves, communication; and how a jaxpr nests."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core

# fmt: off
_FREE = frozenset((  # views, and what costs nothing at run time
    "axis_index", "bitcast_convert_type", "broadcast", "broadcast_in_dim", "copy_p", "create_token", "expand_dims",
    "iota", "mesh_cast", "optimization_barrier", "pbroadcast", "pcast", "pvary", "random_unwrap", "random_wrap",
    "reshape", "rev", "sharding_constraint", "split", "squeeze", "stop_gradient", "symbolic_zeros", "transpose",
))
TRANSCENDENTAL = frozenset((
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "digamma", "erf", "erf_inv",
    "erfc", "exp", "exp2", "expm1", "lgamma", "log", "log1p", "logistic", "pow", "rsqrt", "sin", "sinh", "sqrt", "tan",
    "tanh",
))
_ELEMENTWISE = frozenset((
    "abs", "add", "add_any", "and", "ceil", "clamp", "complex", "conj", "convert_element_type", "copy", "div", "eq",
    "eq_to", "floor", "ge", "gt", "imag", "integer_pow", "is_finite", "le", "le_to", "lt", "lt_to", "max", "min", "mul",
    "ne", "neg", "nextafter", "not", "or", "population_count", "random_bits", "random_clone", "random_fold_in",
    "random_seed", "random_split", "real", "reduce_precision", "rem", "round", "select_n", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sign", "square", "sub", "threefry2x32", "xor",
))
_REDUCTIONS = frozenset((
    "argmax", "argmin", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "reduce_and", "reduce_max",
    "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "reduce_window_sum", "reduce_xor",
))
COLLECTIVES = {
    "all_gather": "all_gather", "all_gather_invariant": "all_gather", "all_gather_reduced": "all_gather",
    "all_to_all": "all_to_all", "ragged_all_to_all": "all_to_all", "pmax": "pmax", "pmin": "pmin",
    "ppermute": "ppermute", "psum": "psum", "psum2": "psum", "psum_invariant": "psum",
    "reduce_scatter": "reduce_scatter", "unreduced_psum": "psum",
}
# fmt: on
MOVES = {  # how many bytes they move: read once, written once
    "concatenate": lambda eqn: size_bytes(eqn.outvars[0]),
    "dynamic_slice": lambda eqn: size_bytes(eqn.outvars[0]),
    "dynamic_update_slice": lambda eqn: size_bytes(eqn.invars[1]),
    "gather": lambda eqn: size_bytes(eqn.outvars[0]),
    "pad": lambda eqn: size_bytes(eqn.invars[0]),
    "scatter": lambda eqn: size_bytes(eqn.invars[2]),
    "slice": lambda eqn: size_bytes(eqn.outvars[0]),
}
_INNER = ("call_jaxpr", "jaxpr", "fun_jaxpr")


def is_free(eqn: Any) -> bool:
    """Whether it costs nothing at run time; a conversion that only makes a type less weak does not."""
    if eqn.primitive.name == "convert_element_type":
        return eqn.invars[0].aval.dtype == eqn.outvars[0].aval.dtype
    return eqn.primitive.name in _FREE


def elements(v: Any) -> int:
    """Numbers in an operand."""
    return math.prod(getattr(v.aval, "shape", ()))


def size_bytes(v: Any) -> int:
    """Bytes of an operand; keys and tokens count as nothing."""
    itemsize = getattr(getattr(v.aval, "dtype", None), "itemsize", 0)
    return elements(v) * itemsize


def plain(jaxpr: Any) -> core.Jaxpr:
    """A jaxpr without its constants."""
    return jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr


def called(eqn: Any) -> tuple[core.Jaxpr, Sequence[Any]] | None:
    """(jaxpr, operands) of a primitive that calls one, once: jit, checkpoint, custom derivatives, shard_map, …"""
    if eqn.primitive.name == "custom_linear_solve":
        lengths, jaxpr = eqn.params["const_lengths"], plain(eqn.params["jaxprs"].solve)
        before = lengths.matvec + lengths.vecmat
        right_hand_side = eqn.invars[sum(lengths) :]
        return jaxpr, [*eqn.invars[before : before + lengths.solve], *right_hand_side]
    for name in _INNER:
        inner = eqn.params.get(name)
        if isinstance(inner, core.Jaxpr | core.ClosedJaxpr) and len(plain(inner).invars) == len(eqn.invars):
            return plain(inner), eqn.invars
    return None


def own_work(eqn: Any) -> tuple[float, str | None]:
    """(floating-point operations, a note where that is a guess) of a primitive that calls nothing."""
    name = eqn.primitive.name
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        shape = eqn.invars[0].aval.shape
        return 2 * elements(eqn.outvars[0]) * math.prod(shape[i] for i in contracted), None
    if name == "conv_general_dilated":
        out_features = eqn.invars[1].aval.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
        return 2 * elements(eqn.outvars[0]) * elements(eqn.invars[1]) // out_features, None
    if name in _REDUCTIONS:
        return _floating(eqn) * elements(eqn.invars[0]), None
    if name.startswith("scatter"):
        return _floating(eqn) * elements(eqn.invars[2]), None
    largest = max((elements(v) for v in eqn.outvars), default=0)
    if name in _ELEMENTWISE:
        return _floating(eqn) * largest, None
    return _floating(eqn) * largest, f"{name}: no rule; counted as one operation an entry of its result"


def _floating(eqn: Any) -> bool:
    """Whether it works on floating-point numbers; index arithmetic is not counted."""
    dtypes = [getattr(v.aval, "dtype", None) for v in (*eqn.invars, *eqn.outvars)]
    return any(d is not None and jnp.issubdtype(d, jnp.inexact) for d in dtypes)
