"""Finds the folders that travel with the package: pages, notebooks, SQL and the benchmarks' results.

In a checkout they lie beside the package (`apps/`, `notebooks/`, `store/sql/`, `benchmarks/results/`); a wheel carries
them inside itself. Both are found by the same call, so nothing else needs to know which kind it runs in.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_BESIDE = {"apps": "apps", "benchmarks": "benchmarks/results", "notebooks": "notebooks", "sql": "store/sql"}


def folder(name: str) -> Path:
    """The folder `name` ("apps", "benchmarks", "notebooks" or "sql"), from the checkout or from inside the wheel.

    Raises `ValueError` for another name and `FileNotFoundError` when an installation lacks the folder.
    """
    if name not in _BESIDE:
        raise ValueError(f"name: {name!r} is not a bundled folder; it must be one of {sorted(_BESIDE)}")
    candidates = [_PACKAGE / "_bundled" / name, _PACKAGE.parent / _BESIDE[name]]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the bundled folder {name!r} is missing; looked in {' and '.join(map(str, candidates))}")
