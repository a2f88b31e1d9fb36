"""The libraries that read pretrained models come with an extra."""

import importlib.util


def needed(*modules: str) -> None:
    """Raise ImportError, with the command that helps, unless these libraries are installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ImportError(
            f"this model is read with {', '.join(missing)}, which is not installed; "
            "install the extra: pip install 'parallel-workbench[pretrained]'"
        )
