"""Run ids as people type them, and the error that names what they may have meant."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from workbench.store._paths import run_folders


class UnknownRun(KeyError):
    """No run has this id; the message names the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])


def resolve(text: object, ids: Iterable[str]) -> str:
    """The id among `ids` that `text` names: the whole id, or its beginning or end when only one fits.

    Raises `UnknownRun`, which names the nearest ids.
    """
    known = list(ids)
    if text in known:
        return str(text)
    if not isinstance(text, str) or not text:
        raise UnknownRun(f"run_id: {text!r} must be the id of a run, such as 20261124-093000-my-study-0a1b2c")
    fitting = [name for name in known if name.startswith(text) or name.endswith(text)]
    if len(fitting) == 1:
        return fitting[0]
    near = sorted(fitting)[:5] or difflib.get_close_matches(text, known, n=3, cutoff=0.3)
    told = f"; nearest are {', '.join(near)}" if near else "; the store holds no run like it"
    raise UnknownRun(
        f"run_id: {text!r} names {'several runs' if fitting else 'no run'}{told if known else ' (no runs yet)'}"
    )


def known_run(root: Path, run_id: object) -> str:
    """`resolve` among the run folders of a store."""
    return resolve(run_id, run_folders(root))
