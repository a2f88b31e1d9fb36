"""Live pages: a session asks every two seconds whether the store has changed; and slow work that blocks nobody."""

import asyncio
from collections.abc import Callable
from typing import Any

import panel as pn

from apps.source import Source

PERIOD_MS = 2000
SOON_S = 0.2  # work that takes longer says that it is under way


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


async def meanwhile(work: Callable[[], Any], shown: Any) -> Any:
    """The result of slow work, done in a thread; `shown` says that it is under way if it takes long."""
    task = asyncio.create_task(asyncio.to_thread(work))
    await asyncio.wait({task}, timeout=SOON_S)
    shown.loading = not task.done()
    try:
        return await task
    finally:
        shown.loading = False


def draw_soon(draw: Callable[[], None]) -> None:
    """Call `draw` when this session may be changed: after a wait for slow work it need not be."""
    pn.state.execute(draw, schedule=True)
