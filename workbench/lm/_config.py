"""The configuration of a language model: numbers and a mixer, checked once."""

import dataclasses
import math
from typing import Literal

from workbench.checks import integer
from workbench.lm._attention import Attention
from workbench.lm._mixer import AbstractMixer


@dataclasses.dataclass(frozen=True)
class Config:
    """A sequence model: embedding, `layers` blocks of one kind, a norm, a read-out.

    Block around a gated mixer (recurrent, SSD), width E = expand * hidden_dim inside:

        u, g = split(norm(x) W_in);  u = silu(conv(u));  x <- s * x + norm(mixer(u) * silu(g)) W_out
        x <- x + mlp(norm(x))

    with s one learnable number a channel, and the causal convolution of `conv_width` steps (1: none, the SiLU stays).
    Around attention: x <- x + attention(norm(x)) W_out, then the MLP. ParaRNN (arXiv 2510.21450, figure 9).

    `bare` leaves the mixer alone: x <- mixer(norm(x)), no convolution, gate, residual or MLP; with one layer the
    protocol of the paper's synthetic tasks. `mlp_dim` None is 8/3 hidden_dim rounded up to a multiple of 8 (SwiGLU's
    three matrices then hold 8 hidden_dim^2), 0 no MLP. `classes` is what the read-out tells apart, None: the
    vocabulary. `tied` reads out with the embedding.

    What families of pretrained models differ in: `mlp` with a gate ("swiglu") or without ("gelu"); `norm` "rms" or
    "layer", with `norm_eps`; `post_norm`: x <- norm(x + f(x)) and a norm on the embedding instead of one at the end
    (BERT); `bias` on the matrices that write into the residual stream and those of the MLP; `positions`: as many
    learned position embeddings; `scaled_embedding`: times sqrt(hidden_dim) (None: where it is tied, as ours are);
    `max_length`: longest sequence it was made for (None: any); `readout` False: an encoder without one.
    Raises ValueError naming the argument.
    """

    vocab: int
    layers: int
    hidden_dim: int
    mixer: AbstractMixer
    mlp_dim: int | None = None
    conv_width: int = 4
    expand: int = 1
    classes: int | None = None
    tied: bool = False
    bare: bool = False
    mlp: Literal["swiglu", "gelu"] = "swiglu"
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-6
    post_norm: bool = False
    bias: bool = False
    positions: int | None = None
    scaled_embedding: bool | None = None
    max_length: int | None = None
    readout: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab", "layers", "hidden_dim", "conv_width", "expand"):
            integer(name, getattr(self, name))
        if not isinstance(self.mixer, AbstractMixer):
            raise ValueError(f"mixer: {self.mixer!r}, must be a mixer object such as Attention() or Recurrent()")  # noqa: TRY004
        if self.mlp_dim != 0 and self.mlp_dim is not None:
            integer("mlp_dim", self.mlp_dim)
        for name in ("classes", "positions", "max_length"):
            if getattr(self, name) is not None:
                integer(name, getattr(self, name))
        for name, known in (("mlp", ("swiglu", "gelu")), ("norm", ("rms", "layer"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: {getattr(self, name)!r}, must be one of {', '.join(known)}")
        if not self.norm_eps >= 0:
            raise ValueError(f"norm_eps: {self.norm_eps!r}, must be at least 0")
        if self.post_norm and (self.mixer.gated or self.bare):
            raise ValueError("post_norm: True, must be False but around attention")
        if self.tied and self.classes not in (None, self.vocab):
            raise ValueError(f"classes: {self.classes}, must be the vocabulary ({self.vocab}) when tied")
        self.mixer.check(self.inner_dim)

    @property
    def inner_dim(self) -> int:
        """The width that the mixer works at."""
        return self.hidden_dim * (self.expand if self.mixer.gated and not self.bare else 1)

    @property
    def causal(self) -> bool:
        """Whether no token sees what comes after it."""
        return self.mixer.causal if isinstance(self.mixer, Attention) else True

    @property
    def embedding_scale(self) -> float:
        """What embeddings are multiplied with: small as a read-out, of variance 1 as an input."""
        scaled = self.tied if self.scaled_embedding is None else self.scaled_embedding
        return math.sqrt(self.hidden_dim) if scaled else 1.0

    @property
    def longest(self) -> int | None:
        """The longest sequence it can read, None: any."""
        limits = [n for n in (self.positions, self.max_length) if n is not None]
        return min(limits, default=None)

    @property
    def mlp_width(self) -> int:
        """The hidden width of the MLP, 0 if there is none."""
        if self.bare:
            return 0
        return -(-self.hidden_dim // 3) * 8 if self.mlp_dim is None else self.mlp_dim

    @property
    def outputs(self) -> int:
        """The number of logits a position."""
        return self.vocab if self.classes is None else self.classes
