"""Two runs side by side: what differs in how they came about, their last values, and the claims that both tested."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from workbench.store import Log

_LAST = """
SELECT name AS metric, a.last AS first, b.last AS second, b.last / nullif(a.last, 0) AS ratio
FROM (SELECT name, last FROM summary WHERE run_id = $1) a FULL JOIN (SELECT name, last FROM summary WHERE run_id = $2) b
    USING (name) ORDER BY name
"""
# A run may have told a claim twice: its last word counts. The value is the measured one, or the model's where none was.
_CLAIMS = """
WITH told AS (
    SELECT run_id, claim_id, verdict, coalesce(measured, modelled) AS value,
        CASE WHEN measured IS NULL THEN modelled_lo ELSE measured_lo END AS lo,
        CASE WHEN measured IS NULL THEN modelled_hi ELSE measured_hi END AS hi
    FROM results WHERE run_id IN ($1, $2)
    QUALIFY row_number() OVER (PARTITION BY run_id, claim_id ORDER BY created_at DESC, result_id DESC) = 1
)
SELECT claim_id, c.statement, c.unit, a.value AS first, a.lo AS first_lo, a.hi AS first_hi, a.verdict AS first_verdict,
    b.value AS second, b.lo AS second_lo, b.hi AS second_hi, b.verdict AS second_verdict
FROM (FROM told WHERE run_id = $1) a JOIN (FROM told WHERE run_id = $2) b USING (claim_id) LEFT JOIN claims c
    USING (claim_id) ORDER BY claim_id
"""


@dataclass(frozen=True)
class Difference:
    """One thing that differs: its group ("config", "packages", …), its name, and both values (None: absent)."""

    group: str
    name: str
    first: Any
    second: Any


def differences(log: "Log", first: str, second: str) -> list[Difference]:
    """Everything that differs between two runs of a store, grouped; equal facts are left out.

    Raises `KeyError` for an unknown run.
    """
    a, b = (log.details(run_id) for run_id in (first, second))
    found = [d for group in ("config", "git", "packages", "machine") for d in _group(group, a.get(group), b.get(group))]
    found += list(_group("run", _run(a), _run(b)))
    patches = [log.artifact(run_id, "uncommitted.diff") for run_id in (first, second)]
    if patches[0] != patches[1]:
        a_lines, b_lines = (_lines(patch) for patch in patches)
        lines = difflib.unified_diff(a_lines, b_lines, first, second, lineterm="", n=1)
        found.append(Difference("code", "uncommitted changes", "\n".join(lines), None))
    last = log.summary([first, second]).to_dicts()
    metrics = [{row["name"]: row["last"] for row in last if row["run_id"] == run_id} for run_id in (first, second)]
    return found + list(_group("metrics (last value)", *metrics))


def last_values(log: "Log", first: str, second: str) -> "pl.DataFrame":
    """The last value of every metric of two runs: columns metric, first, second, and ratio = second ÷ first.

    A value is null where a run lacks the metric, the ratio also where the first value is 0. Raises `KeyError` for an
    unknown run.
    """
    return log.sql(_LAST, [log.resolve(first), log.resolve(second)])


def same_claims(log: "Log", first: str, second: str) -> "pl.DataFrame":
    """The claims that both runs tested, a row a claim: value, interval and verdict of each, as judged at that time.

    Raises `KeyError` for an unknown run.
    """
    return log.sql(_CLAIMS, [log.resolve(first), log.resolve(second)])


def _run(details: Mapping[str, Any]) -> dict[str, Any]:
    command = details.get("command")
    words = " ".join(command) if isinstance(command, list) else command
    return {"study": details.get("study"), "seed": details.get("seed"), "command": words}


def _group(group: str, first: Mapping | None, second: Mapping | None) -> Iterator[Difference]:
    a, b = _flat(first or {}), _flat(second or {})
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name) and name != "load_avg":
            yield Difference(group, name, a.get(name), b.get(name))


def _flat(facts: Mapping, prefix: str = "") -> dict[str, Any]:
    """Nested mappings with dotted names, so that a change deep in a config is one line."""
    flat = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _lines(patch: bytes | None) -> list[str]:
    return (patch or b"").decode(errors="replace").splitlines()
