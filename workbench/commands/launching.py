"""`workbench dashboard` and `workbench lab`: start a server for the pages or the notebooks."""

import importlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.bundled import folder

if TYPE_CHECKING:
    from workbench.cli import Dashboard, Lab


def pages() -> Any:
    """The module that serves the pages, from the checkout or from inside the wheel."""
    beside = str(folder("apps").parent)
    if beside not in sys.path:
        sys.path.insert(0, beside)
    try:
        return importlib.import_module("apps.serve")
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("panel", "panel_material_ui", "holoviews", "bokeh", "pandas"):
            raise ImportError(f"the dashboard needs {error.name}: pip install 'parallel-workbench[app]'") from error
        raise


def dashboard(options: "Dashboard") -> int:
    """Serve the pages until interrupted."""
    pages().serve(
        port=options.port,
        address=options.address,
        store=options.store,
        basic_auth=options.basic_auth,
        cookie_secret=options.cookie_secret,
        show=options.open,
    )
    return 0


def lab(options: "Lab") -> int:
    """Start JupyterLab in the folder of the notebooks; those of a wheel are copied first, so they can be edited."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise ImportError("the notebooks need JupyterLab: pip install 'parallel-workbench[notebooks]'")
    words = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--port={options.port}",
        f"--notebook-dir={_notebooks(options.folder)}",
    ]
    return subprocess.call(words if options.open else [*words, "--no-browser"])


def _notebooks(chosen: Path | None) -> Path:
    if chosen is not None:
        if not chosen.is_dir():
            raise FileNotFoundError(f"folder: {str(chosen)!r} must be a folder")
        return chosen
    source = folder("notebooks")
    if "_bundled" not in source.parts:
        return source
    target = Path.cwd() / "workbench-notebooks"
    if not target.exists():
        shutil.copytree(source, target)
    return target
