"""What every benchmark keeps beside its figures: the machine, its load, the versions and the date."""

import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.store import _facts, _folder

RESULTS = Path(__file__).parent / "results"


def keep(name: str, figures: Mapping[str, Any], packages: Sequence[str] = ()) -> Path:
    """Write `figures` to `results/<name>.json`, with what they depend on; returns the file."""
    machine = {fact: value for fact, value in _facts.machine().items() if fact != "host"}
    told = {
        "measured": _folder.utc(),
        "machine": machine | {"load_avg_at_end": _facts.load_avg()},
        "python": sys.version.split()[0],
        "versions": {package: importlib.metadata.version(package) for package in packages},
        **figures,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file
