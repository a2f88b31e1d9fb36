"""Live pages: every two seconds a session asks whether the store has changed, and redraws only then."""

from collections.abc import Callable

import panel as pn

from apps.source import Source

PERIOD_MS = 2000


def follow(source: Source, changed: Callable[[], object]) -> None:
    """Call `changed` in this session whenever the store is newer than what the session has seen."""
    seen = source.version

    def look() -> None:
        nonlocal seen
        version = source.refresh()
        if version != seen:
            seen = version
            with pn.io.hold():
                changed()

    if pn.state.curdoc is not None:  # outside a server there is nobody to redraw for
        pn.state.add_periodic_callback(look, period=PERIOD_MS)
