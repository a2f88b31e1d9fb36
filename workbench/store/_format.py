"""How values are written: one metrics line a call, and anything else as JSON that reads back."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESERVED = ("step", "time")  # the other columns of the wide frame
_ARRAY_LIMIT = 10_000


def metric_name(name: object) -> str:
    """`"<name>":` as it stands in a line. Raises `ValueError` for a name that could not be read back."""
    if not isinstance(name, str) or not name or len(name) > 500:
        raise ValueError(f"metric name: {name!r} must be a text of 1 to 500 characters")
    if name in RESERVED:
        raise ValueError(f"metric name: {name!r} is a column of every frame of metrics; use another name")
    if "\x00" in name or not _is_utf8(name):
        raise ValueError(f"metric name: {name!r} must hold neither NUL nor lone surrogates")
    return json.dumps(name, ensure_ascii=False) + ":"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def metric_value(name: str, value: Any) -> str:
    """A Python, numpy or JAX scalar as a JSON number; NaN and ±Infinity as the literals that JSON readers here take.

    Raises `ValueError` that names the metric for everything else: arrays, texts, None, traced values.
    """
    if isinstance(value, str | bytes) or getattr(value, "ndim", 0) != 0 or not hasattr(value, "__float__"):
        shape = f" of shape {value.shape}" if hasattr(value, "shape") else ""
        raise ValueError(f"metric {name!r}: {type(value).__name__}{shape} {value!r:.80} must be one real number")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        message = str(error).split("\n", 1)[0]
        raise ValueError(f"metric {name!r}: {type(value).__name__} must be one real number ({message})") from error
    return float_text(number)


def float_text(number: float) -> str:
    """The shortest text that reads back as the same float."""
    if number - number == 0.0:
        return repr(number)
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def step_text(step: Any) -> int:
    """`step` as an int of 64 bits. Raises `ValueError` for anything but a whole number."""
    try:
        whole = step.__index__() if not isinstance(step, bool) else None
    except (AttributeError, TypeError):
        whole = None
    if whole is None or not -(2**63) <= whole < 2**63:
        raise ValueError(f"step: {step!r} must be a whole number of 64 bits")
    return whole


def column_texts(name: str, values: Any, length: int | None) -> Sequence[Any]:
    """A column of `log_many` as things whose `%s` is a JSON number. Raises `ValueError` that names the column."""
    shape = getattr(values, "shape", None)
    if isinstance(values, str | bytes) or (shape is not None and len(shape) != 1) or not hasattr(values, "__len__"):
        raise ValueError(f"metric {name!r}: must be a sequence or an array of rank 1, not {values!r:.80}")
    if length is not None and len(values) != length:
        raise ValueError(f"metric {name!r}: has {len(values)} values, but there are {length} steps")
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    # a finite sum of floats has no NaN and no infinity in it, and then the shortest text is what %r gives
    if all(type(v) is float for v in plain) and (total := sum(plain)) - total == 0.0:
        return plain
    return [_Text(metric_value(name, v)) for v in plain]


class _Text(str):
    """A text whose repr is itself, so that one `%r` serves for numbers and for NaN."""

    __slots__ = ()
    __repr__ = str.__str__


def plain(value: Any) -> Any:
    """`value` as JSON types: dataclasses, mappings, sequences, paths, scalars and small arrays; else its text.

    Floats stay floats, NaN and infinities too. Mappings get text keys, sets are sorted by their text.
    """
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {plain(str(name)): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value, key=str)]
    if hasattr(value, "tolist") and getattr(value, "size", 0) <= _ARRAY_LIMIT:
        listed = value.tolist()
        return plain(listed) if isinstance(listed, bool | int | float | str | list) else str(value)
    return plain(str(value) if not callable(value) else getattr(value, "__qualname__", str(value)))


def dumps(value: Any, indent: int | None = None) -> str:
    """`plain(value)` as JSON text."""
    return json.dumps(plain(value), ensure_ascii=False, indent=indent)


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside `path` and rename it, so that a reader sees the old file or the whole new one."""
    write_bytes(path, (dumps(value, indent=1) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes beside `path` and rename them into place."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line by one write; a torn line that a killed writer left is closed first."""
    line = (dumps(value) + "\n").encode()
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        end = os.fstat(fd).st_size
        torn = end and os.pread(fd, 1, end - 1) != b"\n"
        write_all(fd, b"\n" + line if torn else line)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """`os.write` until everything is written: a full disk raises, it does not shorten a line in silence."""
    while data:
        data = data[os.write(fd, data) :]


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects of a file of lines, and how many lines were torn or no object. A missing file has none."""
    if not path.exists():
        return [], 0
    rows, torn = [], 0
    for line in path.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            torn += 1
    return rows, torn
