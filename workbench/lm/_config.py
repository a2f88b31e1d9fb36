"""The configuration of a language model: numbers and a mixer, checked once."""

import dataclasses

from workbench.lm._mixer import AbstractMixer, natural


@dataclasses.dataclass(frozen=True)
class Config:
    """A causal sequence model: embedding, `layers` blocks of one kind, RMSNorm, read-out.

    Block around a gated mixer (recurrent, SSD), width E = expand * hidden_dim inside:

        u, g = split(RMSNorm(x) W_in);  u = silu(conv(u));  x <- s * x + RMSNorm(mixer(u) * silu(g)) W_out
        x <- x + SwiGLU(RMSNorm(x))

    with s one learnable number a channel, and the causal convolution of `conv_width` steps (1: none, the SiLU stays).
    Around attention: x <- x + attention(RMSNorm(x)) W_out, then the MLP. ParaRNN (arXiv 2510.21450, figure 9).

    `bare` leaves the mixer alone: x <- mixer(RMSNorm(x)), no convolution, gate, residual or MLP; with one layer the
    protocol of the paper's synthetic tasks. `mlp_dim` None is 8/3 hidden_dim rounded up to a multiple of 8 (SwiGLU's
    three matrices then hold 8 hidden_dim^2), 0 no MLP. `classes` is what the read-out tells apart, None: the
    vocabulary. `tied` reads out with the embedding. Raises ValueError naming the argument.
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

    def __post_init__(self) -> None:
        for name in ("vocab", "layers", "hidden_dim", "conv_width", "expand"):
            natural(name, getattr(self, name))
        if not isinstance(self.mixer, AbstractMixer):
            raise ValueError(f"mixer: {self.mixer!r}, must be a mixer object such as Attention() or Recurrent()")  # noqa: TRY004
        if self.mlp_dim != 0 and self.mlp_dim is not None:
            natural("mlp_dim", self.mlp_dim)
        if self.classes is not None:
            natural("classes", self.classes)
            if self.tied and self.classes != self.vocab:
                raise ValueError(f"classes: {self.classes}, must be the vocabulary ({self.vocab}) when tied")
        self.mixer.check(self.inner_dim)

    @property
    def inner_dim(self) -> int:
        """The width that the mixer works at."""
        return self.hidden_dim * (self.expand if self.mixer.gated and not self.bare else 1)

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
