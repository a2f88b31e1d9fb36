"""Is a traced function elementwise in its state? A conservative reading of its jaxpr: yes means yes."""

from collections.abc import Iterator

from jax.extend import core

# Primitives that work entry by entry when their operands have one shape.
# fmt: off
_ELEMENTWISE = frozenset((
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil",
    "clamp", "convert_element_type", "copy", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp",
    "exp2", "expm1", "floor", "ge", "gt", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic",
    "lt", "max", "min", "mul", "ne", "neg", "nextafter", "not", "or", "pow", "rem", "round", "rsqrt", "select_n",
    "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor",
))
# fmt: on
_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")
# These keep an entry in its place when they do not change the shape.
_SHAPE_ONLY = ("broadcast_in_dim", "reshape", "squeeze", "expand_dims")


def is_elementwise(jaxpr: core.Jaxpr, shape: tuple[int, ...], states: int = 1) -> bool:
    """Whether entry i of each output depends on the first `states` arguments through their entries i alone."""
    depends = tuple(i < states for i in range(len(jaxpr.invars)))
    return _outputs_elementwise(jaxpr, depends, shape) is not None


def _outputs_elementwise(jaxpr: core.Jaxpr, depends: tuple[bool, ...], shape: tuple[int, ...]) -> list[bool] | None:
    """Which outputs depend on the state, or None if one of them may mix entries."""
    state = {v for v, d in zip(jaxpr.invars, depends, strict=True) if d}

    def is_state(atom: object) -> bool:
        return not isinstance(atom, core.Literal) and atom in state

    for eqn in jaxpr.eqns:
        flags = tuple(map(is_state, eqn.invars))
        if not any(flags):
            continue
        name = eqn.primitive.name
        if name in _CALLS:
            inner = next(iter(_direct(eqn)), None)
            if inner is None or len(inner.invars) != len(flags):
                return None
            outs = _outputs_elementwise(inner, flags, shape)
        elif name in _ELEMENTWISE or name in _SHAPE_ONLY:
            same = all(_shape(v) == shape for v, f in zip(eqn.invars, flags, strict=True) if f)
            outs = [True] * len(eqn.outvars) if same and all(_shape(v) == shape for v in eqn.outvars) else None
        else:
            outs = None
        if outs is None:
            return None
        state.update(v for v, o in zip(eqn.outvars, outs, strict=True) if o)
    return [is_state(v) for v in jaxpr.outvars]


def sub_jaxprs(jaxpr: core.Jaxpr) -> Iterator[core.Jaxpr | core.ClosedJaxpr]:
    """Every jaxpr inside, at any depth."""
    for eqn in jaxpr.eqns:
        for inner in _direct(eqn):
            yield inner
            yield from sub_jaxprs(inner)


def _direct(eqn: core.JaxprEqn) -> Iterator:
    for value in eqn.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.Jaxpr | core.ClosedJaxpr):
                yield item


def _shape(atom: core.Var | core.Literal) -> tuple[int, ...] | None:
    return getattr(atom.aval, "shape", None)
