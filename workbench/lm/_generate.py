"""Decoding: a prompt goes on token by token, in one compiled loop."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from workbench import display
from workbench.checks import integer
from workbench.lm._attention import Attention
from workbench.lm._cache import KVCache, make_cache
from workbench.lm._forward import Tokens, read_out, trunk
from workbench.lm._model import Model
from workbench.lm._padding import padded, rounded
from workbench.lm._sampling import GREEDY, Sampler
from workbench.lm._tokenizer import AbstractTokenizer

_STEP = 32  # lengths of prompts and caches are multiples of it


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Generation:
    """What was generated: `tokens` (batch, max_new_tokens); `lengths` (batch,) of them count, an end token included.

    `logprobs` (of the drawn tokens, under the model itself, in nats) and `entropies` (of its next-token distribution,
    nats) have their shape. `forwards`: the model's forward passes. `stopped` (batch,): whether an end token came, or
    the limit ended it.
    """

    tokens: Int[np.ndarray, "batch steps"]
    lengths: Int[np.ndarray, " batch"]
    logprobs: Float[np.ndarray, "batch steps"]
    entropies: Float[np.ndarray, "batch steps"]
    stopped: Bool[np.ndarray, " batch"]
    forwards: int
    tokenizer: AbstractTokenizer | None
    single: bool

    @property
    def texts(self) -> list[str]:
        """The text of each sequence. Raises ValueError for a model without a tokenizer."""
        if self.tokenizer is None:
            raise ValueError("tokenizer: None, must be given to the model: model.replace(tokenizer=...)")
        return [self.tokenizer.decode(row[:n]) for row, n in zip(self.tokens, self.lengths, strict=True)]

    @property
    def text(self) -> str:
        """The text, of one prompt. Raises ValueError for several: `texts` has them."""
        if not self.single:
            raise ValueError(f"text: {len(self.lengths)} sequences, must be one; see texts")
        return self.texts[0]

    def _facts(self) -> dict[str, str]:
        facts = {"tokens": f"{int(self.lengths.sum()):,}", "forward passes": f"{self.forwards:,}"}
        facts["stopped"] = f"{int(self.stopped.sum())} of {len(self.stopped)}"
        return facts | ({"text": repr(self.texts[0])} if self.tokenizer is not None and len(self.lengths) else {})

    def __repr__(self) -> str:
        return "Generation(" + ", ".join(f"{name}: {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card("Generation", self._facts())


def generate(
    model: Model,
    prompt: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | Array | np.ndarray,
    *,
    max_new_tokens: int = 64,
    sampler: Sampler = GREEDY,
    key: PRNGKeyArray | None = None,
    stop: Sequence[int] | None = None,
) -> Generation:
    """Continue a prompt, or several side by side, by up to `max_new_tokens` tokens drawn one after the other.

    A prompt is a text (of a model with a tokenizer) or its tokens; several may differ in length. `stop`: tokens that
    end a sequence (None: the tokenizer's). Attention goes on from its cache, one token's work a step; a recurrent model
    reads its whole text again. A `key` is needed unless the sampler is greedy.

    Raises ValueError for an encoder, an empty prompt, a text without a tokenizer, or more tokens than the model reads.
    """
    integer("max_new_tokens", max_new_tokens)
    config = model.config
    if not (config.causal and config.readout and config.outputs == config.vocab):
        raise ValueError("model: an encoder or a classifier, must be causal and read out its vocabulary")
    if sampler.temperature > 0 and key is None:
        raise ValueError("key: None, must be a random key, or the sampler greedy: Sampler(temperature=0)")
    rows, single = _rows(model, prompt)
    longest = max(map(len, rows))
    limit = config.longest
    if limit is not None and longest + max_new_tokens > limit:
        raise ValueError(
            f"max_new_tokens: {max_new_tokens}, must be at most {limit - longest}: the model reads {limit} tokens"
        )
    ends = stop if stop is not None else () if model.tokenizer is None else model.tokenizer.ends
    room = rounded(longest + max_new_tokens, _STEP, limit)
    tokens, lengths = padded(rows, rounded(longest, _STEP, limit))
    key = jax.random.key(0) if key is None else key
    steps = jnp.asarray(max_new_tokens, jnp.int32)
    fixed = (sampler, room, rounded(max_new_tokens, _STEP, None), tuple(int(token) for token in ends))
    drawn, forwards = _generate(*fixed, model, jnp.asarray(tokens), jnp.asarray(lengths), steps, key)
    cut = lambda a: np.asarray(a)[:, :max_new_tokens]
    return Generation(
        cut(drawn.tokens), np.asarray(drawn.counts), cut(drawn.logprobs), cut(drawn.entropies),
        np.asarray(drawn.stopped), int(forwards), model.tokenizer, single,
    )  # fmt: skip


class Drawn(NamedTuple):
    """What has been drawn so far; `counts` tokens of each sequence."""

    tokens: Int[Array, "batch steps"]
    logprobs: Float[Array, "batch steps"]
    entropies: Float[Array, "batch steps"]
    counts: Int[Array, " batch"]
    stopped: Bool[Array, " batch"]


class Loop(NamedTuple):
    """What decoding carries: how many tokens are drawn, the last ones, the past (a cache, or the text), all of them."""

    step: Int[Array, ""]
    token: Int[Array, " batch"]
    past: KVCache | Int[Array, "batch room"]
    drawn: Drawn


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _generate(
    sampler: Sampler,
    room: int,
    buffer: int,
    ends: tuple[int, ...],
    model: Model,
    prompt: Int[Array, "batch width"],
    lengths: Int[Array, " batch"],
    steps: Int[Array, ""],
    key: PRNGKeyArray,
) -> tuple[Drawn, Int[Array, ""]]:
    batch, cached = prompt.shape[0], isinstance(model.config.mixer, Attention)
    way = _CACHED if cached else _REREAD
    stepped = unrolled(model) if cached else model  # the prompt is read by the scan, which compiles sooner
    empty, none = jnp.zeros((batch, buffer), jnp.float32), jnp.zeros(batch, jnp.int32)
    drawn = Drawn(empty.astype(jnp.int32), empty, empty, none, jnp.zeros(batch, bool))

    def draw(drawn: Drawn, step: Array, logits: Array, past: Any) -> Loop:
        token = sampler(logits, jax.random.fold_in(key, step))
        return Loop(step + 1, token, past, _drawn(drawn, step, token, logits, ends))

    def more(loop: Loop) -> Bool[Array, ""]:
        return (loop.step < steps) & ~loop.drawn.stopped.all()

    def advance(loop: Loop) -> Loop:
        logits, past = way.go_on(stepped, loop.past, loop.token, lengths + loop.step - 1)
        return draw(loop.drawn, loop.step, logits, past)

    first = draw(drawn, jnp.zeros((), jnp.int32), *way.begin(model, way.empty(model, prompt, room), prompt, lengths))
    loop = jax.lax.while_loop(more, advance, first)
    return loop.drawn, loop.step  # a forward pass a step: the last token is not read


def unrolled(model: Model) -> Model:
    """The same with a list of layers: a matrix is read where it lies; a scan over stacked ones copies it first."""
    weights = model.weights
    if isinstance(weights["layers"], list):
        return model
    layers = [jax.tree.map(lambda a, i=i: a[i], weights["layers"]) for i in range(model.config.layers)]
    return model.replace(weights=weights | {"layers": layers})


def _drawn(drawn: Drawn, step: Array, token: Array, logits: Array, ends: tuple[int, ...]) -> Drawn:
    """With one more token of each sequence that has not ended."""
    told = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    entropy = -jnp.where(jnp.isfinite(told), jnp.exp(told) * told, 0).sum(-1)
    logprob = jnp.take_along_axis(told, token[:, None], axis=-1)[:, 0]
    going = ~drawn.stopped
    put = lambda a, new: a.at[:, step].set(jnp.where(going, new, 0))
    ended = (token[:, None] == jnp.asarray(ends, token.dtype)[None]).any(-1) if ends else jnp.zeros_like(going)
    return Drawn(
        put(drawn.tokens, token), put(drawn.logprobs, logprob), put(drawn.entropies, entropy),
        drawn.counts + going.astype(drawn.counts.dtype), drawn.stopped | ended,
    )  # fmt: skip


def _prefill(model: Model, cache: KVCache, prompt: Array, lengths: Array) -> tuple[Array, KVCache]:
    """All prompts at once; what lies beyond a shorter one is never seen, and written over."""
    run = trunk(model, Tokens(prompt), cache)
    assert run.cache is not None
    last = jnp.take_along_axis(run.hidden, (lengths - 1)[:, None, None], axis=1)[:, 0]
    return _logits(model, last), KVCache(run.cache.k, run.cache.v, lengths, run.cache.prefix)


def _next(model: Model, cache: KVCache, token: Array, _: Array) -> tuple[Array, KVCache]:
    run = trunk(model, Tokens(token[:, None]), cache)
    assert run.cache is not None
    return _logits(model, run.hidden[:, 0]), run.cache


def _read(model: Model, text: Array, _: Array, lengths: Array) -> tuple[Array, Array]:
    """The whole text, which is all that a recurrent model is asked for."""
    hidden = trunk(model, Tokens(text), None).hidden
    return _logits(model, jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0]), text


def _read_on(model: Model, text: Array, token: Array, at: Array) -> tuple[Array, Array]:
    text = text.at[jnp.arange(text.shape[0]), at].set(token)
    return _read(model, text, token, at + 1)


class _Way(NamedTuple):
    """How a model is asked for the next token: an empty past, (logits, past) of prompts, (logits, past) of a token."""

    empty: Callable[..., Any]
    begin: Callable[..., Any]
    go_on: Callable[..., Any]


_CACHED = _Way(lambda model, prompt, room: make_cache(model, prompt.shape[0], room), _prefill, _next)
_REREAD = _Way(lambda model, prompt, room: jnp.pad(prompt, ((0, 0), (0, room - prompt.shape[1]))), _read, _read_on)


def _logits(model: Model, hidden: Array) -> Array:
    logits = read_out(model, hidden)
    assert logits is not None
    return logits


def _rows(model: Model, prompt: Any) -> tuple[list[list[int]], bool]:
    """(tokens of each prompt, whether it was one alone)."""
    encode = lambda text: _encoded(model, text)
    if isinstance(prompt, str):
        rows, single = [encode(prompt)], True
    else:
        several = [each if isinstance(each, str) else np.asarray(each) for each in prompt]
        single = bool(several) and not isinstance(several[0], str) and several[0].ndim == 0
        rows = [several] if single else several
        rows = [encode(row) if isinstance(row, str) else [int(token) for token in row] for row in rows]
    if not rows or not all(rows):
        raise ValueError(f"prompt: {prompt!r}, must hold at least one token")
    low, high = min(map(min, rows)), max(map(max, rows))
    if low < 0 or high >= model.config.vocab:
        raise ValueError(f"prompt: tokens {low} to {high}, must lie in 0 to {model.config.vocab - 1}, the vocabulary")
    return rows, single


def _encoded(model: Model, text: str) -> list[int]:
    if model.tokenizer is None:
        raise ValueError("prompt: a text, must be tokens: the model has no tokenizer (model.replace(tokenizer=...))")
    return model.tokenizer.encode(text)
