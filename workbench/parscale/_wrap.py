"""Give a model streams, take them away, keep them apart from it."""

import json
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from workbench import lm
from workbench.parscale._streams import Streams


def wrap(
    model: lm.Model,
    *,
    streams: int,
    key: PRNGKeyArray,
    prefix_tokens: int = 48,
    smoothing: float = 0.1,
    aggregation: Literal["dynamic", "mean"] = "dynamic",
    scale: float = 0.02,
    prompts: Int[Array | np.ndarray, "streams prefix_tokens"] | None = None,
    freeze: bool = False,
) -> lm.Model:
    """The model as `streams` parallel passes, each behind a learned prefix of its own; one stream is the model itself.

    Prefixes are drawn for each stream apart, normal with standard deviation `scale`, so that no two streams are the
    same; with `prompts` they are the keys and values that the model itself computes for these tokens, a row a stream,
    without positions. The aggregation starts as the plain mean of the streams. `freeze`: training changes prefixes and
    aggregation only (a frozen backbone, "recycled").

    Raises ValueError for a model with streams, or one that is no causal attention; for numbers below 1, smoothing
    outside [0, 1], prompts of another shape or with two equal rows.
    """
    _check(model, streams=streams, prefix_tokens=prefix_tokens, smoothing=smoothing, scale=scale)
    if aggregation not in ("dynamic", "mean"):
        raise ValueError(f"aggregation: {aggregation!r}, must be 'dynamic' or 'mean'")
    if streams == 1:
        return model
    prefix_key, gate_key = jax.random.split(key)
    prefix = _prefix(model, streams, prefix_tokens, scale, prompts, prefix_key)
    gate = _gate(model, streams, gate_key) if aggregation == "dynamic" else None
    return model.replace(streams=Streams(prefix, gate, smoothing), frozen=("weights",) if freeze else model.frozen)


def prefixed(
    model: lm.Model,
    *,
    key: PRNGKeyArray,
    prefix_tokens: int = 48,
    scale: float = 0.02,
    prompts: Int[Array | np.ndarray, "1 prefix_tokens"] | None = None,
    freeze: bool = False,
) -> lm.Model:
    """One stream behind a learned prefix: prefix tuning (Li and Liang, arXiv 2101.00190), the control for P streams.

    Arguments and errors as in `wrap`.
    """
    _check(model, prefix_tokens=prefix_tokens, scale=scale)
    streams = Streams(_prefix(model, 1, prefix_tokens, scale, prompts, key), None)
    return model.replace(streams=streams, frozen=("weights",) if freeze else model.frozen)


def save(streams: Streams, file: str | Path) -> Path:
    """Write streams, without the model that they stand before, as safetensors."""
    from safetensors.numpy import save_file

    k, v = streams.prefix
    tensors = {"prefix.k": k, "prefix.v": v}
    for name, site in (streams.gate or {}).items():
        tensors |= {f"gate.{name}.{part}": leaf for part, leaf in site.items()}
    about = {"format": "parscale-streams-1", "smoothing": json.dumps(streams.smoothing)}
    save_file({name: np.asarray(leaf) for name, leaf in tensors.items()}, file, about)
    return Path(file)


def load(model: lm.Model, file: str | Path) -> lm.Model:
    """The model with the streams of a file; its weights stay the very same arrays. ValueError if they do not fit."""
    from safetensors import safe_open

    with safe_open(str(file), framework="numpy") as opened:
        about = opened.metadata() or {}
        if about.get("format") != "parscale-streams-1":
            raise ValueError(f"file: {file}, must be written by parscale.save")
        tensors = {name: jnp.asarray(opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    prefix = tensors["prefix.k"], tensors["prefix.v"]
    heads, head_dim = _heads(model)
    wanted = (model.config.layers, *prefix[0].shape[1:3], heads, head_dim)
    if prefix[0].shape != wanted or prefix[1].shape != wanted:
        raise ValueError(f"file: prefixes of shape {prefix[0].shape}, must be {wanted} for this model")
    sites = {name.split(".")[1] for name in tensors if name.startswith("gate.")}
    gate = {site: {part: tensors[f"gate.{site}.{part}"] for part in ("weight", "bias")} for site in sites} or None
    if gate is not None and gate["down"]["weight"].shape != (model.config.hidden_dim, wanted[1]):
        raise ValueError(f"file: an aggregation for {gate['down']['weight'].shape}, must be for {wanted[1]} streams")
    return model.replace(streams=Streams(prefix, gate, json.loads(about["smoothing"])))


def _prefix(
    model: lm.Model, streams: int, tokens: int, scale: float, prompts: Any, key: PRNGKeyArray
) -> tuple[Array, Array]:
    if prompts is None:
        return _drawn(model, streams, tokens, scale, key)
    return _computed(model, np.asarray(prompts), streams, tokens)


def _drawn(model: lm.Model, streams: int, tokens: int, scale: float, key: PRNGKeyArray) -> tuple[Array, Array]:
    shape = (model.config.layers, streams, tokens, *_heads(model))
    dtype = model.weights["embedding"].dtype
    k, v = (scale * jax.random.normal(each, shape, dtype) for each in jax.random.split(key))
    return k, v


def _computed(model: lm.Model, prompts: np.ndarray, streams: int, tokens: int) -> tuple[Array, Array]:
    """At position 0 a rotation is none: these keys have no position, as a prefix must not."""
    if prompts.shape != (streams, tokens):
        raise ValueError(f"prompts: shape {prompts.shape}, must be ({streams}, {tokens}), streams and prefix_tokens")
    if len(np.unique(prompts, axis=0)) < streams:
        raise ValueError("prompts: two rows are equal, must differ: equal streams stay equal for ever")
    cache = lm.make_cache(model, streams, tokens)
    held = lm.forward(model, prompts, positions=np.zeros(tokens, np.int32), cache=cache).cache
    assert held is not None
    return held.k, held.v


def _gate(model: lm.Model, streams: int, key: PRNGKeyArray) -> dict[str, dict[str, Array]]:
    """The second matrix is zero: all streams count the same at the start, and differ by their prefixes."""
    dim, dtype = model.config.hidden_dim, model.weights["embedding"].dtype
    up = jax.random.normal(key, (streams * dim, dim), dtype) / np.sqrt(streams * dim).astype(dtype)
    return {
        "up": {"weight": up, "bias": jnp.zeros(dim, dtype)},
        "down": {"weight": jnp.zeros((dim, streams), dtype), "bias": jnp.zeros(streams, dtype)},
    }


def _heads(model: lm.Model) -> tuple[int, int]:
    mixer = model.config.mixer
    assert isinstance(mixer, lm.Attention)
    return mixer.groups, mixer.width(model.config.hidden_dim)


def _check(model: lm.Model, **numbers: float) -> None:
    mixer = model.config.mixer
    if not (isinstance(mixer, lm.Attention) and mixer.causal):
        raise ValueError(f"model: {mixer}, must be causal attention: a prefix is keys and values")
    if model.streams is not None:
        raise ValueError(f"model: has {model.streams.count} streams, must have none: model.replace(streams=None)")
    for name, value in numbers.items():
        whole = name in ("streams", "prefix_tokens")
        good = isinstance(value, int) and value >= 1 if whole else 0 <= value <= (1 if name == "smoothing" else value)
        if isinstance(value, bool) or not good:
            must = "a whole number of at least 1" if whole else "in [0, 1]" if name == "smoothing" else "at least 0"
            raise ValueError(f"{name}: {value!r}, must be {must}")
