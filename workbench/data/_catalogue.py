"""One row a dataset: what there is, where it came from, under which licence, and the hash of what is here."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data import _images, _tables, _text

if TYPE_CHECKING:
    import polars

# A user's folder may hold checkpoints of many gigabytes; listing it must not read them all.
HASHED_UP_TO_BYTES = 256 * 2**20

Row = tuple[str, str, str, str, str | None, int | None]


def catalogue() -> "polars.DataFrame":
    """Every dataset as a row: name, kind (text, image, published, user), origin, licence, sha256, bytes.

    `sha256` and `bytes` are null for an image whose package is not installed; `sha256` is null for files of the user
    above 256 MiB. Raises `NotADirectoryError` when `WORKBENCH_DATA` names no folder.
    """
    import polars

    schema = {
        "name": polars.String,
        "kind": polars.String,
        "origin": polars.String,
        "licence": polars.String,
        "sha256": polars.String,
        "bytes": polars.Int64,
    }
    rows = [*_text_rows(), *_image_rows(), *_published_rows(), *_user_rows()]
    return polars.DataFrame(rows, schema=schema, orient="row")


def _text_rows() -> list[Row]:
    corpus = _text.stdlib_text()
    return [("stdlib_text", "text", corpus.origin, corpus.licence, corpus.sha256, corpus.bytes.size)]


def _image_rows() -> list[Row]:
    rows: list[Row] = []
    for name in _images.image_names():
        try:
            contents = _images.image_file(name).read_bytes()
        except ImportError:  # the extra `data` is not installed: the row says what there would be
            digest, size = None, None
        else:
            digest, size = hashlib.sha256(contents).hexdigest(), len(contents)
        rows.append((name, "image", _images.image_origin(name), _images.image_licence(name), digest, size))
    return rows


def _published_rows() -> list[Row]:
    rows: list[Row] = []
    for name in _tables.published_names():
        origin = _tables.published_note(name, "origin") or "not stated"
        licence = _tables.published_note(name, "licence") or "not stated"
        rows.append((name, "published", origin, licence, *_hash_and_size(_tables.PUBLISHED / f"{name}.csv")))
    return rows


def _user_rows() -> list[Row]:
    folder = _tables.user_folder()
    if folder is None:
        return []
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    shown = sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))
    return [(name, "user", _tables.VARIABLE, "not stated", *_hash_and_size(names[name])) for name in shown]


def _hash_and_size(path: Path) -> tuple[str | None, int]:
    size = path.stat().st_size
    if size > HASHED_UP_TO_BYTES:
        return None, size
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest(), size
