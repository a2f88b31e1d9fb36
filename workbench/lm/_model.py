"""The model: fresh weights, one forward pass; layers are stacked on a leading axis and run by `lax.scan`."""

import dataclasses
import math
from abc import abstractmethod
from functools import partial
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from workbench import display
from workbench.lm._config import Config
from workbench.lm._layers import init_conv, init_linear, init_mlp, init_norm, matrix
from workbench.lm._tokenizer import AbstractTokenizer


class AbstractStreams(eqx.Module):
    """Several passes of a model over the same tokens, each behind a learned prefix, merged before the read-out.

    `prefix`: keys and values of every layer, (layers, streams, tokens, kv_heads, head_dim) each; they have no position,
    and every token sees those of its own stream. One batched call computes all streams.
    """

    prefix: eqx.AbstractVar[tuple[Array, Array]]

    @abstractmethod
    def merge(self, hidden: Float[Array, "streams batch time dim"]) -> Float[Array, "batch time dim"]:
        """The normalised hidden states of all streams as one."""

    @property
    def count(self) -> int:
        """Streams."""
        return self.prefix[0].shape[1]

    @property
    def tokens(self) -> int:
        """Length of the prefix."""
        return self.prefix[0].shape[2]


class Model(eqx.Module):
    """A model: what it is (`config`, `tokenizer`; static) and what it holds (arrays; a pytree).

    `weights`: "embedding" (vocab, hidden_dim), "layers" with a leading axis of layers on each leaf, "norm", "readout"
    and what the configuration asks for. `streams`: passes side by side (None: one, without a prefix). `frozen` names
    the fields that training leaves as they are; `lm.partition` divides by it.
    """

    weights: dict[str, Any]
    streams: AbstractStreams | None = None
    config: Config = eqx.field(static=True, kw_only=True)
    tokenizer: AbstractTokenizer | None = eqx.field(static=True, default=None, kw_only=True)
    frozen: tuple[str, ...] = eqx.field(static=True, default=(), kw_only=True)

    def __check_init__(self) -> None:
        unknown = set(self.frozen) - set(PARTS)
        if unknown:
            raise ValueError(f"frozen: {sorted(unknown)}, must be among {', '.join(PARTS)}")

    def replace(self, **changes: Any) -> Self:
        """The same with other fields: `model.replace(config=..., frozen=("weights",))`."""
        return dataclasses.replace(self, **changes)

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves((self.weights, self.streams)))

    def _facts(self) -> dict[str, str]:
        config = self.config
        facts = {
            "mixer": str(config.mixer),
            "size": f"{config.layers} layers of {config.hidden_dim} channels",
            "vocabulary": f"{config.vocab:,}",
            "parameters": f"{self.parameters:,}",
        }
        if self.streams is not None:
            facts["streams"] = f"{self.streams.count}, each behind {self.streams.tokens} prefix tokens"
        if self.frozen:
            facts["frozen"] = ", ".join(self.frozen)
        return facts

    def __repr__(self) -> str:
        return "Model(" + ", ".join(f"{name}: {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card("Model", self._facts())


PARTS = ("weights", "streams")


def init(config: Config, key: PRNGKeyArray, dtype: DTypeLike = jnp.float32) -> Model:
    """A fresh model; each leaf under weights["layers"] has a leading axis of `config.layers`.

    Matrices are normal with standard deviation 1/sqrt(fan-in), those that write into the residual stream 1/sqrt(2
    layers) of that, so that its variance does not grow with depth.
    """
    return Model(_init(config, key, jnp.dtype(dtype)), config=config)


def partition(model: Model) -> tuple[Model, Model]:
    """(what training changes, all else), each with None in the places of the other; `equinox.combine` joins them."""
    held = jax.tree.map(lambda _: True, model)
    frozen = {part: jax.tree.map(lambda _: False, getattr(model, part)) for part in model.frozen}
    return eqx.partition(model, held.replace(**frozen))


def count_parameters(model: Model | Config, *, embedding: bool = True) -> int:
    """How many numbers a model holds; embedding=False leaves out the embedding and an untied read-out."""
    if isinstance(model, Config):
        model = jax.eval_shape(partial(init, model), jax.random.key(0))
    tables = () if embedding else ("embedding", "readout")
    outside = jax.tree.leaves([leaf for name, leaf in model.weights.items() if name in tables])
    return model.parameters - sum(math.prod(leaf.shape) for leaf in outside)


def clip(model: Model) -> Model:
    """The model with recurrent weights back inside the mixer's bounds; training does it after every step."""
    layers, config = model.weights["layers"], model.config
    layers = layers | {"mixer": config.mixer.clip(config.inner_dim, layers["mixer"])}
    return model.replace(weights=model.weights | {"layers": layers})


@partial(jax.jit, static_argnums=(0, 2))
def _init(config: Config, key: PRNGKeyArray, dtype: DTypeLike) -> dict[str, Any]:
    embedding_key, layers_key, readout_key = jax.random.split(key, 3)
    dim, layer_norm = config.hidden_dim, config.norm == "layer"
    weights = {
        "embedding": jax.random.normal(embedding_key, (config.vocab, dim), dtype),
        # One layer after the other: the random generator, vectorised over keys, takes XLA twice as long to compile.
        "layers": jax.lax.map(partial(_init_layer, config, dtype), jax.random.split(layers_key, config.layers)),
        "norm": init_norm(dim, dtype, layer_norm),
    }
    if config.positions is not None:
        weights["positions"] = matrix(jax.random.fold_in(key, 1), dim, config.positions, dtype).T
    if config.tied:
        weights["embedding"] = weights["embedding"] / math.sqrt(dim)
    elif config.readout:
        weights["readout"] = matrix(readout_key, dim, config.outputs, dtype)
    return weights


def _init_layer(config: Config, dtype: DTypeLike, key: PRNGKeyArray) -> dict[str, Any]:
    dim, inner, layer_norm = config.hidden_dim, config.inner_dim, config.norm == "layer"
    mixer_key, in_key, conv_key, out_key, mlp_key = jax.random.split(key, 5)
    params: dict[str, Any] = {
        "norm": init_norm(dim, dtype, layer_norm),
        "mixer": config.mixer.init(inner, mixer_key, dtype),
    }
    if config.bare:
        return params
    into_residual = 1 / math.sqrt(2 * config.layers)
    params["out"] = init_linear(out_key, config.mixer.output_dim(inner), dim, dtype, into_residual, config.bias)
    if config.mixer.gated:
        params["in"] = init_linear(in_key, dim, 2 * inner, dtype)
        if config.conv_width > 1:
            params["conv"] = init_conv(conv_key, config.conv_width, inner, dtype)
        params["norm_gate"] = init_norm(inner, dtype, layer_norm)
        params["residual"] = jnp.ones(dim, dtype)
    if config.mlp_width:
        params["norm_mlp"] = init_norm(dim, dtype, layer_norm)
        shape = {"gated": config.mlp == "swiglu", "bias": config.bias}
        params["mlp"] = init_mlp(mlp_key, dim, config.mlp_width, dtype, into_residual, **shape)
    return params
