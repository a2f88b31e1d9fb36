"""The catalogue: every paper is a `<slug>.toml` with its claims and a `<slug>.py` that runs them.

`WORKBENCH_STUDIES` names further folders (separated like `PATH`), so a paper can be added without touching the package.
"""

import difflib
import os
from pathlib import Path

from workbench.study import Claim, Paper, Study, load, load_claims

_HERE = Path(__file__).resolve().parent


def folders() -> list[Path]:
    """Where studies are looked for: the package's own folder, then those named by `WORKBENCH_STUDIES`."""
    named = [Path(text).expanduser() for text in os.environ.get("WORKBENCH_STUDIES", "").split(os.pathsep) if text]
    for folder in named:
        if not folder.is_dir():
            raise FileNotFoundError(f"WORKBENCH_STUDIES: {str(folder)!r} must be a folder with <slug>.toml files")
    return [_HERE, *named]


def find() -> dict[str, Path]:
    """The TOML of every study by slug, in alphabetical order; a later folder wins over an earlier one."""
    found = {}
    for folder in folders():
        for toml in folder.glob("*.toml"):
            if not toml.name.endswith(".expected.toml"):
                found[toml.stem] = toml
    return dict(sorted(found.items()))


def path(slug: str) -> Path:
    """The TOML of one study. Raises `KeyError` that names the nearest slugs."""
    found = find()
    if slug not in found:
        near = difflib.get_close_matches(slug, found, n=3) or list(found)
        raise KeyError(f"slug: there is no study {slug!r}; did you mean {', '.join(near)}?")
    return found[slug]


def get(slug: str) -> Study:
    """The study with its code loaded: presets and `run`."""
    return load(path(slug))


def claims(slug: str) -> tuple[Paper, tuple[Claim, ...]]:
    """The paper and its claims, without loading code."""
    return load_claims(path(slug))
