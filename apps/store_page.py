"""Store: where the runs lie, how many there are, and a check of all of it, made in a thread while the page is open."""

import asyncio
import time
from typing import Any

import panel as pn
import panel_material_ui as pmui

from apps.live import draw_soon, follow
from apps.shell import card, copy_button, downloads, empty, markup, page, trouble
from apps.source import Source
from apps.store_state import StoreState
from apps.store_tables import FOUND, evidence_html, facts_html, machines_html, report_html, tiles_html
from apps.style import NUMBERS, TILES

SENTENCE = "Where everything that was run lies, and whether it is sound."
REST_S = 5.0  # a store that changes all the time is checked no more often; after a long check the rest is longer


def create(source: Source) -> pmui.Page:
    """The page for one session."""
    return StoreView(StoreState(source)).page()


class StoreView:
    """The widgets of the page, wired to its state; each method redraws one part."""

    def __init__(self, state: StoreState) -> None:
        self.state = state
        self.counts, self.facts, self.machines = _column(), markup(""), markup("", NUMBERS)
        self.found, self.evidence = _column(), _column()
        self.found.objects = [
            markup('<p class="dim">Looking at every run …</p>'),
            pmui.Skeleton(height=46, sizing_mode="stretch_width", margin=0),
        ]
        self._checking = self._again = False
        state.param.watch(lambda *_: self.draw(), "version")
        state.param.watch(self._check, "version")
        follow(state.source, lambda: state.param.update(version=state.source.version))
        self.draw()
        pn.state.onload(self._check)

    def page(self) -> pmui.Page:
        """The page around the view."""
        state = self.state
        texts = (state.check_python, state.machines_python, state.evidence_python)
        check, machines, evidence = (copy_button(text)[0] for text in texts)
        main = [
            card(self.counts, self.facts, title="What is here"),
            card(self.found, title="Check", tools=[check]),
            card(self.machines, title="Machines", tools=[*downloads(state.machines, "machines"), machines]),
            card(self.evidence, title="Evidence", tools=[*downloads(state.evidence, "evidence"), evidence]),
        ]
        return page("store", SENTENCE, [], main)

    def draw(self) -> None:
        """What needs no check: counts, place, machines, evidence."""
        counts = self.state.counts()
        nothing = empty("No run is in the store yet", "workbench reproduce")
        self.counts.objects = [
            markup(tiles_html(counts), TILES, "ul.tiles{margin:.5rem 0 .2rem}") if any(counts.values()) else nothing
        ]
        self.facts.object = facts_html(self.state)
        self.machines.object = machines_html(self.state.machines())
        try:
            table = evidence_html(self.state.evidence(), self._runs())
        except ValueError as error:
            self.evidence.objects = [trouble(error)]
        else:
            self.evidence.objects = [markup(table, NUMBERS)]

    def draw_check(self, found: Any) -> None:
        """What the check has found, or the error that it ended with."""
        if isinstance(found, Exception):
            self.found.objects = [trouble(found)]
            return
        self.state.report = found
        self.found.objects = [markup(report_html(found, self._runs()), FOUND)]
        self.facts.object = facts_html(self.state)

    async def _check(self, *_: Any) -> None:
        """Check in a thread, and again when the store has changed meanwhile; never two at a time."""
        self._again = True
        if self._checking:
            return
        self._checking = True
        try:
            while self._again:
                self._again, began = False, time.monotonic()
                found = await asyncio.to_thread(self._look)
                draw_soon(lambda found=found: self.draw_check(found))
                await asyncio.sleep(max(REST_S, 10 * (time.monotonic() - began)))
        finally:
            self._checking = False

    def _look(self) -> Any:
        try:
            return self.state.check()
        except (OSError, RuntimeError) as error:  # a file that went away under the check, a store of a newer workbench
            return error

    def _runs(self) -> set[str]:
        return set(self.state.source.runs()["run_id"])


def _column() -> pn.Column:
    return pn.Column(sizing_mode="stretch_width", margin=0)
