"""Checks at the door of the specifications: which argument, what it was, what it must be."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from workbench.checks import integer as integer


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


def real(name: str, value: Any, least: float = 0.0) -> None:
    """Raises ValueError unless `value` is a finite number of at least `least`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < least:
        raise ValueError(f"{name}: {value!r}, must be a finite number of at least {least:g}")


def flag(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {value!r}, must be True or False")  # noqa: TRY004


def fields(spec: Any, integers: Mapping[str, int], flags: tuple[str, ...] = ()) -> None:
    """Checks fields of a dataclass: integers with the least each may be (None where that is the default), and flags."""
    optional = {field.name for field in dataclasses.fields(spec) if field.default is None}
    for name, least in integers.items():
        if (value := getattr(spec, name)) is not None or name not in optional:
            integer(name, value, least)
    for name in flags:
        flag(name, getattr(spec, name))


def find(table: Mapping[str, T], name: Any) -> T:
    """The entry of `table` (keys in lower case) called `name`, in any case.

    Raises ValueError that lists all names and near matches.
    """
    if isinstance(name, str) and name.lower() in table:
        return table[name.lower()]
    near = difflib.get_close_matches(str(name).lower(), table, n=3, cutoff=0.4)
    meant = f"; did you mean {' or '.join(sorted({table[n].name for n in near}))}?" if near else ""
    known = ", ".join(dict.fromkeys(entry.name for entry in table.values()))
    raise ValueError(f"name: {name!r}, must be one of {known}{meant}")
