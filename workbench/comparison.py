"""What differs between two runs: configuration, code, packages, machine, command and the last value of each metric."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.store import Log


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
