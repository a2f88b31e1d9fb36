"""Workbench: try an idea for parallel and efficient machine learning for real, price it, and hold it against its paper.

`import workbench` is cheap; rooms load what they need when they are used:

    from workbench import rnn, data, store, study
"""

from typing import Any

from workbench.errors import NotConverged as NotConverged

__version__ = "0.1.0"


def reproduce(slugs: Any = None, **options: Any) -> Any:
    """Run the studies named by `slugs` (all when None) and return one row a claim; see `workbench.runner.reproduce`."""
    from workbench import runner

    return runner.reproduce(slugs, **options)
