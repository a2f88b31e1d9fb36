"""Tables that papers published, and files that a user brings."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars

PUBLISHED = Path(__file__).parent / "published"
VARIABLE = "WORKBENCH_DATA"


def published(name: str) -> "polars.DataFrame":
    """The published table `workbench/data/published/<name>.csv`: the one source for claims and for fits.

    Lines that begin with `#` say where it comes from and are not rows. Raises `ValueError` for an unknown name.
    """
    known = published_names()
    if name not in known:
        listed = ", ".join(known) or "none yet"
        raise ValueError(f"name was {name!r}; it must be a table in workbench/data/published: {listed}")
    import polars

    return polars.read_csv(PUBLISHED / f"{name}.csv", comment_prefix="#", infer_schema_length=None)


def published_names() -> tuple[str, ...]:
    """The names that `published` knows, sorted."""
    return tuple(sorted(path.stem for path in PUBLISHED.glob("*.csv")))


def published_note(name: str, field: str) -> str | None:
    """What the line `# <field>: …` at the top of a published table says; None where there is no such line."""
    prefix = f"# {field}:"
    with (PUBLISHED / f"{name}.csv").open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                return None
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()
    return None


def user_path(name: str) -> Path:
    """The file or folder `name` inside the folder that the environment variable `WORKBENCH_DATA` names.

    Raises `LookupError` when the variable is not set, `NotADirectoryError` when it names no folder, `ValueError` when
    `name` leads out of that folder, `FileNotFoundError` when there is nothing of that name.
    """
    folder = user_folder()
    if folder is None:
        raise LookupError(f"{VARIABLE} is not set; it must name the folder that holds {name!r}")
    path = folder / name
    if not name or not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"name was {name!r}; it must be a relative path inside {VARIABLE} ({str(folder)!r})")
    if not path.exists():
        here = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        held = ", ".join(here) or "nothing"
        raise FileNotFoundError(f"{VARIABLE} was {str(folder)!r}; it must hold {name!r}. It holds: {held}")
    return path


def user_folder() -> Path | None:
    """The folder that `WORKBENCH_DATA` names, None when it is not set; `NotADirectoryError` when it is no folder."""
    value = os.environ.get(VARIABLE, "")
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(f"{VARIABLE} was {value!r}; it must name a folder that exists")
    return folder
