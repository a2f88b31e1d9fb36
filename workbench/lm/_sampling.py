"""How the next token is drawn from logits."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Draws from softmax(logits / temperature), cut to the `top_k` likeliest tokens and to the `top_p` nucleus.

    temperature 0 takes the likeliest (greedy; nothing is drawn). `top_p` keeps the fewest tokens that together have
    that probability (Holtzman et al., arXiv 1904.09751). Raises ValueError.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        for name, good, must in (
            ("temperature", self.temperature >= 0, "at least 0"),
            ("top_k", self.top_k is None or (isinstance(self.top_k, int) and self.top_k >= 1), "None or at least 1"),
            ("top_p", 0 < self.top_p <= 1, "in (0, 1]"),
        ):
            if not good:
                raise ValueError(f"{name}: {getattr(self, name)!r}, must be {must}")

    def cut(self, logits: Float[Array, "*batch vocab"]) -> Float[Array, "*batch vocab"]:
        """The log-probabilities that are drawn from; -inf where a token cannot come. Not for temperature 0."""
        logits = logits.astype(jnp.float32) / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least = jax.lax.top_k(logits, self.top_k)[0][..., -1:]
            logits = jnp.where(logits >= least, logits, -jnp.inf)
        if self.top_p < 1:
            ordered = -jnp.sort(-logits, axis=-1)
            share = jax.nn.softmax(ordered, axis=-1)
            before = jnp.cumsum(share, axis=-1) - share  # of the likelier ones: the first token always stays
            least = jnp.where(before < self.top_p, ordered, jnp.inf).min(-1, keepdims=True)
            logits = jnp.where(logits >= least, logits, -jnp.inf)
        return jax.nn.log_softmax(logits, axis=-1)

    def __call__(self, logits: Float[Array, "*batch vocab"], key: PRNGKeyArray) -> Int[Array, "*batch"]:
        """A token of each sequence."""
        if self.temperature == 0:
            return logits.argmax(-1).astype(jnp.int32)
        return jax.random.categorical(key, self.cut(logits)).astype(jnp.int32)


GREEDY = Sampler(temperature=0.0)
