"""The committed expectation of every tested claim: `studies/<slug>.expected.toml`.

An honest negative verdict stays green, and a change in either direction is seen: `workbench reproduce --accept` writes
the file, `--strict` and the tests compare with it. Timing claims depend on the machine and are left out.
"""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import studies

if TYPE_CHECKING:
    import polars as pl

_HEADER = (
    "# Written by `workbench reproduce --accept`: the verdict of each tested claim, and whether its control failed.\n"
)


def path(slug: str) -> Path:
    """Where the expectation of a study lies: beside its TOML."""
    return studies.path(slug).with_suffix(".expected.toml")


def read(slug: str) -> dict[str, dict]:
    """{claim key: {"verdict": …, "control_failed": …}}; empty when nothing was accepted yet."""
    file = path(slug)
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _found(rows: "pl.DataFrame", slug: str) -> dict[str, dict]:
    return {
        row["claim"]: {"verdict": row["verdict"], "control_failed": row["negative_control_failed"]}
        for row in rows.iter_rows(named=True)
        if row["paper"] == slug and row["evidence"] != "published" and not row["timing"]
    }


def accept(rows: "pl.DataFrame", slug: str) -> Path:
    """Write the verdicts of `rows` as the expectation of study `slug`."""
    lines = [_HEADER]
    for key, facts in sorted(_found(rows, slug).items()):
        control = str(bool(facts["control_failed"])).lower()
        lines.append(f'["{key}"]\nverdict = "{facts["verdict"]}"\ncontrol_failed = {control}\n')
    file = path(slug)
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def differences(rows: "pl.DataFrame", slug: str) -> list[str]:
    """How the verdicts of `rows` differ from the expectation of study `slug`, one sentence each."""
    expected, found = read(slug), _found(rows, slug)
    told = []
    for key in sorted(expected.keys() | found.keys()):
        before, now = expected.get(key), found.get(key)
        if before != now:
            told.append(f"{slug}.{key}: expected {_words(before)}, found {_words(now)}")
    return told


def _words(facts: dict | None) -> str:
    if facts is None:
        return "no result"
    return f"{facts['verdict']} (control {'failed' if facts['control_failed'] else 'did not fail'})"
