"""Checks at the door that every room makes: which argument, what it was, what it must be."""

from typing import Any


def integer(name: str, value: Any, least: int = 1) -> None:
    """Raises ValueError unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: {value!r}, must be an integer of at least {least}")
