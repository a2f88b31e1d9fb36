"""Checkpoints: one file a training run, replaced as a whole, so that a kill at any moment leaves a complete one."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
from safetensors.numpy import save as to_bytes

NAME = "checkpoint.safetensors"
_ABOUT, _HISTORY = "about", "history/"


def save(folder: str | Path, state: Any, history: dict[str, np.ndarray], about: dict[str, Any]) -> Path:
    """Write a pytree, its arrays by their paths, a history and `about` (JSON) to folder/checkpoint.safetensors.

    Written under another name, flushed to the disk, then renamed over the old one: a reader or a restart sees the old
    checkpoint or the new one, never a part.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.asarray(leaf) for name, leaf in _named(state).items()}
    arrays |= {f"{_HISTORY}{name}": values for name, values in history.items()}
    temporary = folder / f"{NAME}.tmp"
    with temporary.open("wb") as file:
        file.write(to_bytes(arrays, {_ABOUT: json.dumps(about)}))
        file.flush()
        os.fsync(file.fileno())
    return temporary.replace(folder / NAME)


def load(folder: str | Path, like: Any, about: dict[str, Any]) -> tuple[Any, dict[str, np.ndarray], dict] | None:
    """(state, history, about) as saved, the state in the structure of `like`; None if there is no checkpoint.

    Raises ValueError if the file is damaged, differs from the given `about` in a value, or does not hold exactly the
    leaves of `like`, in shape and dtype.
    """
    path = Path(folder) / NAME
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(str(path), framework="numpy") as saved:
            arrays = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118 (no mapping)
            found = json.loads((saved.metadata() or {})[_ABOUT])
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise ValueError(f"folder: {path} is damaged ({error}); delete it to start anew") from error
    for name, value in about.items():
        if found.get(name) != value:
            raise ValueError(f"{name}: {value}, must be {found.get(name)}, that of the run saved in {path}")
    history = {name.removeprefix(_HISTORY): arrays.pop(name) for name in list(arrays) if name.startswith(_HISTORY)}
    expected = _named(like)
    for name in sorted(expected.keys() | arrays.keys()):
        wanted, kind = (_kind(tree.get(name)) for tree in (expected, arrays))
        if wanted != kind:
            raise ValueError(f"folder: {path} holds {name} as {kind}, must be {wanted}")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in expected]), history, found


def _named(tree: Any) -> dict[str, Any]:
    """The leaves by their paths, in the order of the tree."""
    return {f"state{jax.tree_util.keystr(path)}": leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _kind(leaf: Any) -> str:
    return "nothing" if leaf is None else f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"
