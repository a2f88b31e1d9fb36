"""Reads a study from its two files. Every mistake in a TOML is reported with the file, the claim and the field."""

import csv
import importlib.util
import re
import string
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from workbench.study._checks import Check, Published, Tolerance
from workbench.study._claim import Claim, Paper

_KEY = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?")
_PLAIN = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_SECTIONS = ("paper", "needs", "defaults", "claims", "tables")
_TEMPLATED = ("key", "statement", "quantity", "unit", "source")


class ClaimError(ValueError):
    """A study's TOML breaks the contract; the message names the file, the claim and the field."""


@dataclass(frozen=True)
class Needs:
    """The environment a study asks for: the runner starts its process with it.

    `devices` virtual CPU devices, 64-bit floats, further XLA flags, extras of the package, a GPU.
    """

    devices: int = 1
    x64: bool = False
    xla_flags: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    gpu: bool = False


@dataclass(frozen=True)
class Study:
    """A paper, its claims, and how to run them: `run(config, log)` returns {claim key: Outcome}."""

    paper: Paper
    claims: tuple[Claim, ...]
    presets: Mapping[str, Any]
    run: Callable[[Any, Any], Mapping[str, Any]]
    needs: Needs = field(default_factory=Needs)

    @property
    def slug(self) -> str:
        """The short name of the study, which is the name of its files."""
        return self.paper.slug


def load(toml: Path) -> Study:
    """The study whose claims stand in `toml` and whose code stands beside it under the same name.

    Raises `ClaimError` for the TOML, `AttributeError` when the module lacks `PRESETS` or `run`, and `TypeError` for a
    preset that is no dataclass.
    """
    paper, claims = load_claims(toml)
    needs = load_needs(toml)
    module = _import(toml.with_suffix(".py"))
    for name in ("PRESETS", "run"):
        if not hasattr(module, name):
            raise AttributeError(f"{toml.with_suffix('.py')}: a study needs a public `{name}`")
    if "quick" not in module.PRESETS:
        raise AttributeError(
            f"{toml.with_suffix('.py')}: PRESETS must hold 'quick', and holds {sorted(module.PRESETS)}"
        )
    for name, config in module.PRESETS.items():
        if not is_dataclass(config) or isinstance(config, type):
            raise TypeError(f"{toml.with_suffix('.py')}: PRESETS[{name!r}] must be an instance of a frozen dataclass")
    return Study(paper, claims, module.PRESETS, module.run, needs)


def load_needs(toml: Path) -> Needs:
    """Only what the study needs: read before its process starts, and so without loading its code."""
    needs = {name: _freeze(value) for name, value in _document(toml).get("needs", {}).items()}
    return _build(Needs, needs, toml.name, "[needs]")


def load_claims(toml: Path) -> tuple[Paper, tuple[Claim, ...]]:
    """Only the paper and its claims: reads no code, so listing all papers stays cheap."""
    document = _document(toml)
    paper = _build(Paper, {"slug": toml.stem, **document.get("paper", {})}, toml.name, "[paper]")
    rows = [*document.get("claims", []), *_expand(document.get("tables", []), toml)]
    defaults = document.get("defaults", {})
    claims = tuple(_claim({**defaults, **row}, paper.slug, toml.name) for row in rows)
    keys = [claim.key for claim in claims]
    for key in keys:
        if keys.count(key) > 1:
            raise ClaimError(f"{toml.name}, claim {key!r}, key: stands {keys.count(key)} times; keys are unique")
    if not claims:
        raise ClaimError(f"{toml.name}: holds no claim; add one under [[claims]]")
    # TOML keeps claims and tables apart; what shares the first word of its key belongs together.
    topics = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    return paper, tuple(sorted(claims, key=lambda claim: topics.index(claim.key.partition(".")[0])))


def _document(toml: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(toml.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ClaimError(f"{toml.name}: not valid TOML: {error}") from error
    unknown = set(document) - set(_SECTIONS)
    if unknown:
        raise ClaimError(f"{toml.name}: unknown section {sorted(unknown)}; a study has {', '.join(_SECTIONS)}")
    return document


def slugify(text: str) -> str:
    """`text` in lower case with everything but letters, digits and dots turned into single hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def parse_number(text: str) -> float | None:
    """The first number printed in `text` ("665x" is 665, "1,122" is 1122), or None when there is none."""
    found = _NUMBER.search(text)
    return float(found.group().replace(",", "")) if found else None


def _expand(tables: list[dict[str, Any]], toml: Path) -> Iterator[dict[str, Any]]:
    """One claim a cell: the cells come from a CSV (`file`, `value`) or stand in the TOML (`columns`, `rows`)."""
    for index, table in enumerate(tables):
        where = f"{toml.name}, table {table.get('key', index)!r}"
        shared = {k: v for k, v in table.items() if k not in ("file", "value", "columns", "rows", "where")}
        for cell in _cells(table, toml, where):
            if not cell["value"]:
                continue
            row = {**shared, "published_text": cell["value"]}
            number = parse_number(cell["value"])
            if number is not None:
                row["published"] = number
            for name in _TEMPLATED:
                if name in shared:
                    filled = {k: slugify(v) for k, v in cell.items()} if name == "key" else cell
                    try:
                        row[name] = string.Template(shared[name]).substitute(filled)
                    except (KeyError, ValueError) as error:
                        raise ClaimError(f"{where}, {name}: {error} is not a column of {sorted(cell)}") from error
            row["conditions"] = {**shared.get("conditions", {}), **{k: v for k, v in cell.items() if k != "value"}}
            yield row


def _cells(table: dict[str, Any], toml: Path, where: str) -> Iterator[dict[str, str]]:
    if "file" in table:
        path = (toml.parent / table["file"]).resolve()
        if not path.is_file():
            raise ClaimError(f"{where}, file: there is no {path.name} in {path.parent}")
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
        value = table.get("value")
        if not rows or value not in rows[0]:
            raise ClaimError(f"{where}, value: {value!r} is not a column of {path.name}")
        keep = table.get("where", {})
        for row in rows:
            if all(row.get(name) == wanted for name, wanted in keep.items()):
                yield {**row, "value": row[value]}
        return
    for name in ("columns", "rows"):
        if name not in table:
            raise ClaimError(f"{where}, {name}: missing; a table has file and value, or columns and rows")
    for row, values in table["rows"].items():
        if len(values) != len(table["columns"]):
            raise ClaimError(f"{where}, rows.{row}: {len(values)} cells for {len(table['columns'])} columns")
        for column, value in zip(table["columns"], values, strict=True):
            yield {"row": row, "column": column, "value": str(value)}


def _claim(row: dict[str, Any], slug: str, file: str) -> Claim:
    key = row.get("key")
    where = f"claim {key!r}"
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ClaimError(f"{file}, {where}, key: must be lower-case words joined by '-' or '.'")
    row = {**row, "paper": slug}
    if row.get("evidence") == "published" or "not_testable" in row:
        row["evidence"] = "published"
        row.setdefault("check", {"kind": "magnitude"})
    parts = {"check": (Check, row.get("check", {})), "tolerance": (Tolerance, row.get("tolerance", {}))}
    for name, (cls, value) in parts.items():
        if not isinstance(value, dict):
            raise ClaimError(f"{file}, {where}, {name}: {value!r} must be a table such as {{ ... }}")
        frozen = {k: _freeze(v) for k, v in value.items()}
        row[name] = _build(cls, frozen, file, where, prefix=f"{name}.")
    row["published"] = _published(row.get("published"), file, where)
    if "seeds" in row:
        row["seeds"] = tuple(row["seeds"])
    return _build(Claim, row, file, where)


def _published(value: Any, file: str, where: str) -> Published:
    number = (int, float)
    if value is None:
        return Published()
    if isinstance(value, number) and not isinstance(value, bool):
        return Published(value=float(value))
    if (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, number) for v in value)
        and value[0] <= value[1]
    ):
        return Published(lo=float(value[0]), hi=float(value[1]))
    raise ClaimError(f"{file}, {where}, published: {value!r} must be a number or a pair [lo, hi] of numbers")


def _freeze(value: Any) -> Any:
    return tuple(_freeze(v) for v in value) if isinstance(value, list) else value


def _build(cls: Any, row: Mapping[str, Any], file: str, where: str, prefix: str = "") -> Any:
    """`cls(**row)` with unknown, missing and mistyped fields reported by name."""
    known = {f.name: f for f in fields(cls)}
    for name in row:
        if name not in known:
            raise ClaimError(f"{file}, {where}, {prefix}{name}: unknown field; known are {sorted(known)}")
    for name, f in known.items():
        if name not in row:
            if f.default is MISSING and f.default_factory is MISSING:
                raise ClaimError(f"{file}, {where}, {prefix}{name}: missing")
            continue
        plain: Any = f.type
        if plain in _PLAIN and not _is_a(row[name], plain):
            raise ClaimError(f"{file}, {where}, {prefix}{name}: {row[name]!r} must be {_PLAIN[plain]}")
    try:
        return cls(**row)
    except (ValueError, TypeError) as error:
        raise ClaimError(f"{file}, {where}, {error}") from error


def _is_a(value: Any, plain: Any) -> bool:
    """Whether `value` is of a plain type; a whole number will do for a float, and a bool is no number."""
    if isinstance(value, bool) or plain is bool:
        return isinstance(value, bool) and plain is bool
    return isinstance(value, (int, float) if plain is float else plain)


def _import(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"a study needs {path.name} beside its TOML, in {path.parent}")
    name = f"workbench.studies.{path.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a .py path always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is executed
    spec.loader.exec_module(module)
    return module
