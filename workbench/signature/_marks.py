"""What the signature plot draws, without saying how: the marks of a scoreboard, the axis and its ticks, the labels."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench import display

if TYPE_CHECKING:
    import polars as pl

_WIDEST = 1e3  # a ratio past it is drawn at the edge, with an arrow; the hover text and the table hold the number
_TICKS = {
    1.3: (0.8, 0.9, 1.0, 1.1, 1.25),
    5.0: (0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0),
    30.0: (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
    math.inf: (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0),
}
_NEGATIVE = ("contradicted", "not reproduced")


@dataclass(frozen=True)
class Mark:
    """What is drawn of one claim: a point on the ratio axis, its interval, the tolerance, and the words beside it."""

    claim_id: str
    key: str
    statement: str
    paper: str
    published: str
    ours: str
    evidence: str
    verdict: str
    ratio: float
    lo: float
    hi: float
    band_lo: float
    band_hi: float
    ticks: tuple[float, ...]

    @property
    def colour(self) -> str:
        """The colour of the evidence; a verdict against the paper has its own."""
        return display.PALETTE["contradiction" if self.verdict in _NEGATIVE else self.evidence]


def marks(rows: "pl.DataFrame") -> list[Mark]:
    """The claims of a scoreboard that have a place on the ratio axis, in the order of the frame."""
    return [mark for row in rows.iter_rows(named=True) for mark in _marks(row)]


def remainder(rows: "pl.DataFrame") -> str:
    """What the plot leaves out, in one line: claims without a ratio by verdict, and those that nothing tests."""
    drawn = {mark.claim_id for mark in marks(rows)}
    left: dict[str, int] = {}
    for row in rows.iter_rows(named=True):
        if row["claim_id"] not in drawn:
            left[row["verdict"]] = left.get(row["verdict"], 0) + 1
    told = [f"{left[name]} {display.verdict_text(name)}" for name in display.VERDICTS if name in left]
    return "No ratio to draw: " + ", ".join(told) if told else ""


def _marks(row: dict[str, Any]) -> Iterable[Mark]:
    """One mark for what was measured or simulated, and one for what was modelled."""
    middle, ticks = _reference(row)
    if middle is None:
        return
    columns = {"measured": row["evidence"] if row["evidence"] != "modelled" else "measured", "modelled": "modelled"}
    for column, evidence in columns.items():
        value = row[column]
        if value is None or not math.isfinite(value):
            continue
        ends = sorted(_over(row[f"{column}_{side}"], middle, value / middle) for side in ("lo", "hi"))
        band = sorted(_over(row[f"region_{side}"], middle, math.nan) for side in ("lo", "hi"))
        yield Mark(
            claim_id=row["claim_id"],
            key=row["claim"],
            statement=row["statement"],
            paper=row["paper"],
            published=row["published_text"],
            ours=display.interval(value, row[f"{column}_lo"], row[f"{column}_hi"], row["unit"] or ""),
            evidence=evidence,
            verdict=row["verdict"],
            ratio=value / middle,
            lo=ends[0],
            hi=ends[1],
            band_lo=band[0],
            band_hi=band[1],
            ticks=ticks,
        )


def _reference(row: dict[str, Any]) -> tuple[float | None, tuple[float, ...]]:
    """The published figure that ours is divided by; of a range its geometric middle, with a tick at both ends."""
    value, lo, hi = row["published"], row["published_lo"], row["published_hi"]
    if value:
        return (value, (1.0,)) if row["ratio"] is not None else (None, ())
    if value is None and lo is not None and hi is not None and lo * hi > 0:
        middle = math.copysign(math.sqrt(lo * hi), lo)
        return middle, tuple(sorted((lo / middle, hi / middle)))
    return None, ()


def _over(value: float | None, middle: float, default: float) -> float:
    return default if value is None or math.isnan(value) else value / middle


def axis_range(found: list[Mark]) -> tuple[float, float]:
    """The ends of the axis: everything that is finite, at least a quarter to either side, at most `_WIDEST`."""
    seen = [v for m in found for v in (m.ratio, m.lo, m.hi, m.band_lo, m.band_hi, *m.ticks) if 0 < v < math.inf]
    widest = max([1.22, *(max(v, 1 / v) for v in seen)])
    low = min([1 / 1.22, *seen])
    high = max([1.22, *seen])
    pad = min(widest, _WIDEST) ** 0.06
    return max(low, 1 / _WIDEST) / pad, min(high, _WIDEST) * pad


def axis_ticks(lo: float, hi: float) -> dict[float, str]:
    """Where the axis is labelled, and with what: `1×` is the published figure."""
    span = max(hi, 1 / lo)
    chosen = next(ticks for reach, ticks in _TICKS.items() if span <= reach)
    return {t: f"{t:g}×" for t in chosen if lo <= t <= hi}


def short(text: str, length: int) -> str:
    """`text` cut at a word, with an ellipsis, to at most `length` characters."""
    if len(text) <= length:
        return text
    return text[: length - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"


def label(mark: Mark, several: bool, length: int) -> str:
    """What names the row: the claim's key, which is short and unlike any other; after the paper if there are more."""
    return short(f"{mark.paper} · {mark.key}" if several else mark.key, length)


def placed_rows(found: list[Mark]) -> dict[str, int]:
    """The row of each claim, from the top."""
    return {claim_id: at for at, claim_id in enumerate(dict.fromkeys(mark.claim_id for mark in found))}
