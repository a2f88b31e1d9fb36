"""Work that a later run of the same thing may go on with: checkpoints of a study that was interrupted."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.store import _facts
from workbench.store._paths import check_study, locate

UNFINISHED = "unfinished"


def unfinished(study: str, config: Mapping[str, Any], path: str | os.PathLike[str] | None = None) -> Path:
    """The folder for what this study, with this config and this code, would not like to do twice; not created.

    Another commit, another uncommitted change or another config gives another folder, so that a result never mixes two.
    """
    git, diff = _facts.git()
    code = [git["commit"] if git else None, hashlib.sha256(diff).hexdigest()]
    identity = json.dumps([code, dict(config)], sort_keys=True, default=str)
    name = f"{check_study(study)}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return locate(path) / UNFINISHED / name


def finished(folder: Path) -> None:
    """The work is done, nothing has to be gone on with: remove the folder."""
    shutil.rmtree(folder, ignore_errors=True)
