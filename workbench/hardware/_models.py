"""The catalogue of models: specifications by name, each with a published count to hold it against."""

import dataclasses
import functools
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.hardware import _checks
from workbench.hardware._feed_forward import FeedForward, MixtureOfExperts
from workbench.hardware._mixers import Attention, LatentAttention, LinearAttention, Mixer, StateSpace
from workbench.hardware._spec import ModelSpec

if TYPE_CHECKING:
    import polars as pl

_TABLE = Path(__file__).parent / "models.toml"
_KINDS = {"attention": Attention, "latent": LatentAttention, "linear": LinearAttention, "state space": StateSpace}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row: the specification, the count that was published, to how many digits (None: to the last), and where.

    `verified` is False where the figure or the configuration is from memory.
    """

    spec: ModelSpec
    aliases: tuple[str, ...]
    published_parameters: int
    published_digits: int | None
    source: str
    verified: bool

    @property
    def agrees(self) -> bool:
        """Whether the specification has the published count, to the digits published."""
        if self.published_digits is None:
            return self.spec.parameters == self.published_parameters
        digits = self.published_digits - len(str(self.published_parameters))
        return round(self.spec.parameters, digits) == self.published_parameters


@functools.cache
def entries() -> tuple[Entry, ...]:
    """All rows of the table, in its order."""
    return tuple(_entry(dict(row)) for row in tomllib.loads(_TABLE.read_text(encoding="utf-8"))["model"])


def model(name: str) -> ModelSpec:
    """The specification called `name` or one of its aliases, in any case. Raises ValueError that lists near matches."""
    table = {known.lower(): row.spec for row in entries() for known in (row.spec.name, *row.aliases)}
    return _checks.find(table, name)


def models() -> "pl.DataFrame":
    """The catalogue as a frame, a row a model: its shape, its count and the published one, and the source of both."""
    import polars as pl

    return pl.DataFrame(
        [
            {
                "name": row.spec.name,
                "layers": row.spec.layers,
                "hidden_dim": row.spec.hidden_dim,
                "vocab": row.spec.vocab,
                "context_tokens": row.spec.context_tokens,
                "parameters": row.spec.parameters,
                "active_parameters": row.spec.active_parameters,
                "published_parameters": row.published_parameters,
                "published_digits": row.published_digits,
                "verified": row.verified,
                "source": row.source,
            }
            for row in entries()
        ]
    )


def _entry(row: dict[str, Any]) -> Entry:
    known = ("aliases", "published_parameters", "published_digits", "source", "verified")
    about = {name: row.pop(name, None) for name in known}
    mixers = tuple(m for part in row.pop("mixers") for m in _mixers(dict(part)))
    fields: dict[str, Any] = {"feed_forward": None} | row | {"mixers": mixers}
    fields |= {name: _feed_forward(row[name]) for name in ("feed_forward", "dense_feed_forward") if name in row}
    about |= {"aliases": tuple(about["aliases"] or ()), "verified": about["verified"] is not False}
    return Entry(ModelSpec(**fields), **about)


def _mixers(part: dict[str, Any]) -> tuple[Mixer, ...]:
    kind, repeat = _KINDS[part.pop("kind", "attention")], part.pop("repeat", 1)
    return (kind(**part),) * repeat


def _feed_forward(part: dict[str, Any]) -> FeedForward | MixtureOfExperts:
    return MixtureOfExperts(**part) if "experts" in part else FeedForward(**part)
