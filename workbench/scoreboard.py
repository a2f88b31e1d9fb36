"""Published × measured × modelled: one row a claim, joined from the TOMLs and the newest results in the store.

The command, the pages, the report and the tests all read this one frame.
"""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from workbench import studies
from workbench.study import Claim, Outcome, result_row, verdict

if TYPE_CHECKING:
    import polars as pl

    from workbench.store import Log

# The contract of `workbench reproduce --json`: these keys come first, in this order.
JSON_KEYS = (
    "paper",
    "claim",
    "statement",
    "published_text",
    "published",
    "measured",
    "modelled",
    "evidence",
    "verdict",
    "verdict_reason",
    "negative_control_failed",
    "seconds",
)
# Every other column of the frame is a number.
_FLAGS = ("negative_control_failed", "within_tol", "verified", "timing", "stale")
_TEXT = (
    *("paper", "claim", "claim_id", "statement", "source", "quantity", "unit", "kind", "published_text", "evidence"),
    *("verdict", "verdict_reason", "tol_reason", "scope", "not_testable", "erratum", "hardware_published"),
    *("published_scale", "conditions", "conditions_here", "run_id", "created_at", "preset", "result_preset"),
)


def scoreboard(log: "Log", slugs: Iterable[str] | None = None, runs: Iterable[str] | None = None) -> "pl.DataFrame":
    """One row a claim of the studies `slugs` (all when None), judged by their newest result in `log`.

    `runs` restricts the results to those run ids. A result made under another wording of the claim is judged again
    under the present one and marked `stale`.
    """
    import polars as pl

    results = log.results(latest=runs is None)
    if runs is not None:
        results = results.filter(pl.col("run_id").is_in(list(runs)))
    newest = {row["claim_id"]: row for row in results.sort("created_at").iter_rows(named=True)}
    rows = [
        _row(claim, newest.get(claim.id))
        for slug in (studies.find() if slugs is None else slugs)
        for claim in studies.claims(slug)[1]
    ]
    return pl.DataFrame(rows, schema=_schema(rows))


def _row(claim: Claim, result: dict[str, Any] | None) -> dict[str, Any]:
    stale = result is not None and result["claim_hash"] != claim.hash
    if result is not None and stale:
        outcome = Outcome(**json.loads(result["outcome"]))
        result = result | result_row(claim, outcome, verdict(claim, outcome)) | {"outcome": result["outcome"]}
        result["conditions_here"] = json.dumps(result["conditions_here"])
    untested = verdict(claim, None)
    found = result or {"verdict": untested.verdict, "verdict_reason": untested.reason}
    region = claim.region if claim.tested else None
    names = "measured modelled verdict verdict_reason negative_control_failed seconds ratio measured_lo measured_hi "
    names += "modelled_lo modelled_hi control n_seeds within_tol run_id conditions_here"
    got = {name: found.get(name) for name in names.split()}
    return {
        "paper": claim.paper,
        "claim": claim.key,
        "statement": claim.statement,
        "published_text": claim.published_text,
        "published": claim.published.value,
        "measured": got.pop("measured"),
        "modelled": got.pop("modelled"),
        "evidence": claim.evidence if result else "published",
        **got,
        "claim_id": claim.id,
        "source": claim.source,
        "quantity": claim.quantity,
        "unit": claim.unit,
        "kind": claim.check.kind,
        "published_lo": claim.published.lo,
        "published_hi": claim.published.hi,
        "region_lo": region.lo if region else None,
        "region_hi": region.hi if region else None,
        "tol_reason": claim.tolerance.reason,
        "verified": claim.verified,
        "timing": claim.timing,
        "scope": claim.scope,
        "not_testable": claim.not_testable,
        "erratum": claim.erratum,
        "hardware_published": claim.hardware_published,
        "published_scale": json.dumps(dict(claim.scale_published)),
        "conditions": json.dumps(dict(claim.conditions)),
        "created_at": str(found["created_at"]) if result else None,
        "preset": claim.preset,
        "result_preset": found.get("preset"),
        "stale": stale,
    }


def _schema(rows: list[dict[str, Any]]) -> dict[str, Any]:
    import polars as pl

    names = list(rows[0]) if rows else list(JSON_KEYS)
    kinds = dict.fromkeys(_TEXT, pl.String) | dict.fromkeys(_FLAGS, pl.Boolean) | {"n_seeds": pl.Int64}
    return {name: kinds.get(name, pl.Float64) for name in names}


def tested_first(rows: "pl.DataFrame") -> "pl.DataFrame":
    """The rows with what was tested on top, then what no run has tested, then what cannot be tested here."""
    import polars as pl

    last = {"untested": 1, "not testable": 2}
    order = pl.col("verdict").replace_strict(last, default=0, return_dtype=pl.Int8)
    return rows.sort(order, maintain_order=True)


def as_json(frame: "pl.DataFrame") -> str:
    """The frame as a JSON array; a value that is not finite becomes text, so that every JSON reader can read it."""
    rows = [{k: _finite(v) for k, v in row.items()} for row in frame.iter_rows(named=True)]
    return json.dumps(rows, ensure_ascii=False, indent=1)


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and value - value != 0 else value
