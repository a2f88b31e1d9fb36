"""A paper and its claims, as data: what was published, where, under which conditions, and how it will be judged."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from workbench.study._checks import KINDS, Check, Published, Region, Tolerance

EVIDENCE = ("measured", "simulated", "modelled", "published")
PRESETS = ("quick", "full")


@dataclass(frozen=True)
class Paper:
    """Whose claims are tested: bibliographic facts, and one sentence that says what the paper is about."""

    slug: str
    title: str
    authors: str
    year: int
    link: str
    summary: str
    topic: str = ""
    venue: str = ""
    code: str = ""
    bibtex: str = ""

    def row(self) -> dict[str, Any]:
        """The paper as a flat row of the store's `papers` table."""
        return {"paper_id": self.slug, **{k: v for k, v in asdict(self).items() if k != "slug"}}


@dataclass(frozen=True)
class Claim:
    """One published figure or statement, and the check that it will be held against.

    `published_text` is the figure exactly as printed and `published` its numbers; `verified = False` marks a figure
    that was not checked against the paper. `evidence` says what a study can bring here; "published" means that nothing
    can be run, and then `not_testable` says what is missing. The scales are compared to tell *reproduced* (equal)
    from *supported* (smaller, or other hardware); an identity needs no scale.
    """

    key: str
    paper: str
    statement: str
    source: str
    published_text: str
    check: Check
    published: Published = field(default_factory=Published)
    tolerance: Tolerance = field(default_factory=Tolerance)
    evidence: str = "measured"
    preset: str = "quick"
    quantity: str = ""
    unit: str = ""
    verified: bool = True
    timing: bool = False
    not_testable: str = ""
    scope: str = ""
    erratum: str = ""
    hardware_published: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    scale_published: Mapping[str, Any] = field(default_factory=dict)
    scale_here: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (("evidence", EVIDENCE), ("preset", PRESETS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: {getattr(self, name)!r} must be one of {allowed}")
        if (self.evidence == "published") != bool(self.not_testable):
            raise ValueError("not_testable: must say what is missing when evidence is 'published', and only then")
        if self.tested and KINDS[self.check.kind].needs_published and self.published == Published():
            raise ValueError(
                f"published: must be a number or a pair of numbers for a check of kind {self.check.kind!r}"
            )
        if self.tested and not self.tolerance.reason and self.check.kind not in ("exact", "ordering"):
            raise ValueError("tolerance.reason: must say why this tolerance is right")

    @property
    def id(self) -> str:
        """`<paper>.<key>`, unique over all papers."""
        return f"{self.paper}.{self.key}"

    @property
    def tested(self) -> bool:
        """Whether a run here can bring evidence."""
        return self.evidence != "published"

    @property
    def same_scale(self) -> bool:
        """Whether the test here runs at the published scale; an identity holds at any scale."""
        return KINDS[self.check.kind].identity or (
            bool(self.scale_published) and dict(self.scale_published) == dict(self.scale_here)
        )

    @property
    def region(self) -> Region:
        """The interval of values that agree with the published figure."""
        return KINDS[self.check.kind].region(self.published, self.tolerance, self.check)

    @property
    def hash(self) -> str:
        """A fingerprint of everything that was written before the run: a result that carries another one is stale."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def row(self) -> dict[str, Any]:
        """The claim as a flat row of the store's `claims` table."""
        facts = asdict(self)
        return {
            "claim_id": self.id,
            "paper_id": self.paper,
            **{name: facts[name] for name in ("statement", "source", "quantity", "unit", "published_text")},
            "kind": self.check.kind,
            "published": self.published.value,
            "published_lo": self.published.lo,
            "published_hi": self.published.hi,
            "evidence": self.evidence,
            "verified": self.verified,
            "tol_abs": self.tolerance.abs,
            "tol_rel": self.tolerance.rel,
            "tol_reason": self.tolerance.reason,
            "scope": self.scope,
            "claim_hash": self.hash,
            "row": facts,
        }
