"""The Python standard library's own sources, cleaned: no tests, no generated code, no repeated headers."""

import functools
import hashlib
import re
import sysconfig
from pathlib import Path

# Installed packages are not the standard library; tests repeat the code that they test; the rest is data or binaries.
LEFT_OUT_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "_bundled", "lib-dynload"}
)

# What the installation, not CPython, wrote: it holds the paths of one machine.
LEFT_OUT_NAMES = re.compile(r"(^|/)(_sysconfigdata|config-)[^/]*(/|$)|^(sitecustomize|usercustomize)\.py$")

# Codec tables, documentation dumps, parser tables: megabytes of near-copies that would fall on both sides of a split.
GENERATED = re.compile(rb"auto-?generated|generated (from|automatically)|automatically (re)?generated", re.IGNORECASE)
GENERATED_WITHIN = 400  # bytes: such notes stand at the top of a file

Source = tuple[str, bytes]


@functools.lru_cache(maxsize=1)
def stdlib_sources(folder: Path | None = None) -> tuple[Source, ...]:
    """The standard library's `.py` files as (relative path, contents), sorted by path, each text once.

    Line ends are those of Unix on every system. Of headers (the comment block at the top of a file) a paragraph that an
    earlier file already showed is left out, so that a licence text stands in the corpus once and not in every split.
    Raises `FileNotFoundError` where the sources are not on disk as files (a zipped or stripped installation).
    """
    root = Path(sysconfig.get_path("stdlib")) if folder is None else folder
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    names = sorted(name for name in paths if _belongs(name))
    if not names:
        raise FileNotFoundError(
            f"the standard library's sources must lie as .py files in {str(root)!r}; none are there"
        )
    headers: set[bytes] = set()
    contents: set[bytes] = set()
    sources = []
    for name in names:
        text = paths[name].read_bytes().replace(b"\r\n", b"\n")
        if GENERATED.search(text[:GENERATED_WITHIN]):
            continue
        text = drop_seen_headers(text, headers)
        digest = hashlib.sha256(text).digest()
        if text.strip() and digest not in contents:
            contents.add(digest)
            sources.append((name, text))
    return tuple(sources)


def _belongs(name: str) -> bool:
    return LEFT_OUT_FOLDERS.isdisjoint(name.split("/")[:-1]) and LEFT_OUT_NAMES.search(name) is None


def drop_seen_headers(text: bytes, seen: set[bytes]) -> bytes:
    """`text` without the header paragraphs in `seen`; the other ones are added to `seen`."""
    lines = text.splitlines(keepends=True)
    end = next((index for index, line in enumerate(lines) if not _is_header_line(line)), len(lines))
    kept: list[bytes] = []
    for paragraph in _paragraphs(lines[:end]):
        key = normal_form(paragraph)
        if not key:
            kept += paragraph
        elif key not in seen:
            seen.add(key)
            kept += paragraph
    return b"".join([*kept, *lines[end:]]).lstrip(b"\n")


def header_paragraphs(text: bytes) -> list[bytes]:
    """The header of a file as normalised paragraphs, rules and empty lines left out."""
    lines = text.splitlines(keepends=True)
    end = next((index for index, line in enumerate(lines) if not _is_header_line(line)), len(lines))
    return [key for paragraph in _paragraphs(lines[:end]) if (key := normal_form(paragraph))]


def normal_form(paragraph: list[bytes]) -> bytes:
    """What counts when two paragraphs are compared: the words, without comment marks, rules and spacing."""
    words = (line.strip().lstrip(b"#").strip().strip(b"-=*#") for line in paragraph)
    return b" ".join(b" ".join(words).split())


def _is_header_line(line: bytes) -> bool:
    return not line.strip() or line.startswith(b"#")


def _paragraphs(lines: list[bytes]) -> list[list[bytes]]:
    """Header lines in groups: runs of worded lines, and the wordless lines (empty, `#`, rules) between them."""
    groups: list[list[bytes]] = []
    worded_before: bool | None = None
    for line in lines:
        worded = bool(normal_form([line]))
        if worded is not worded_before:
            groups.append([])
        groups[-1].append(line)
        worded_before = worded
    return groups
