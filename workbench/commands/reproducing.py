"""`workbench reproduce` and `workbench report`."""

import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from workbench import display, expected, runner, store
from workbench.commands._console import output
from workbench.report import report, report_text
from workbench.scoreboard import as_json, scoreboard

if TYPE_CHECKING:
    import polars as pl

    from workbench.cli import Report, Reproduce


class LiveProgress:
    """One bar a study, fed by the events of its child process."""

    def __init__(self, console: Console) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<16}"),
            BarColumn(),
            TextColumn("{task.fields[what]}"),
        )
        self.progress = Progress(*columns, TimeElapsedColumn(), console=console)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, slug: str, event: dict[str, Any]) -> None:
        """Draw one event; called from the threads that read the children."""
        if slug not in self._tasks:
            self._tasks[slug] = self.progress.add_task(slug, total=None, what="starting")
        task = self._tasks[slug]
        if event["event"] == "progress":
            self.progress.update(task, completed=event["done"], total=event["total"], what=event["what"])
        elif event["event"] == "started":
            self.progress.update(task, what=f"run {event['run']}")
        elif event["event"] == "ended":
            what = "[red]crashed" if event["code"] else "[green]done"
            self.progress.update(task, total=1, completed=1, what=what)


def command(options: "Reproduce") -> int:
    """Run, show the scoreboard, and judge the exit code."""
    console = Console(stderr=True)
    live = LiveProgress(console)
    began = time.perf_counter()
    with live.progress:
        finished = runner.run(
            options.slugs or None,
            preset=options.preset,
            seeds=options.seeds,
            jobs=options.jobs,
            path=options.store,
            resume=options.resume,
            cluster=options.cluster,
            listener=live,
        )
    frame = runner.rows(finished, options.store)
    if options.json:
        print(as_json(frame))
    else:
        screen, shown = output(), _with_kept(frame, options)
        screen.print(report_text(shown, everything=options.everything, width=screen.width))
        console.print(_closing(shown, options, time.perf_counter() - began))
    for job in (f for f in finished if f.code):
        where = f"run {job.run}" if job.run else "before its run began"
        console.print(f"[red]{job.job.slug} crashed[/], {where}:")
        console.print(job.error, highlight=False, markup=False)
    return _settle(frame, finished, options, console)


def _settle(frame: "pl.DataFrame", finished: list[runner.Finished], options: "Reproduce", console: Console) -> int:
    code = 1 if any(f.code for f in finished) else 0
    slugs = [f.job.slug for f in finished if not f.code]
    if options.accept:
        for slug in slugs:
            console.print(f"accepted: {expected.accept(frame, slug)}", highlight=False)
    elif options.strict:
        told = [sentence for slug in slugs for sentence in expected.differences(frame, slug)]
        for sentence in told:
            console.print(f"[red]{sentence}", highlight=False)
        code = code or (3 if told else 0)
    return code


def _with_kept(frame: "pl.DataFrame", options: "Reproduce") -> "pl.DataFrame":
    """The rows, where what a quick run leaves to the full one is as the newest full run, maybe evidence, found it."""
    import polars as pl

    if options.preset != "quick":  # a claim that a full run did not test is one that it should have
        return frame
    elsewhere = (pl.col("verdict") == "untested") & (pl.col("preset") == "full")
    with store.open(options.store) as log:
        kept = scoreboard(log, frame["paper"].unique(maintain_order=True))
    return pl.concat([frame.filter(~elsewhere), kept.join(frame.filter(elsewhere), on="claim_id", how="semi")])


def _closing(frame: "pl.DataFrame", options: "Reproduce", seconds: float) -> str:
    counts = dict(frame["verdict"].value_counts().iter_rows())
    told = ", ".join(f"{counts[name]} {display.verdict_text(name)}" for name in display.VERDICTS if name in counts)
    where = store.locate(options.store)
    return f"{frame.height} claims: {told}\n{seconds:.0f} s; recorded in {where}; look at it with: workbench dashboard"


def write_report(options: "Report") -> int:
    """All claims with their newest results: a table, or a self-contained HTML file."""
    with store.open(options.store) as log:
        if options.html is None:
            screen, frame = output(), scoreboard(log, options.slugs or None)
            screen.print(report_text(frame, everything=True, statements=True, width=screen.width))
            return 0
        options.html.write_text(report(log, options.slugs or None), encoding="utf-8")
    print(f"written: {options.html}", file=sys.stderr)
    return 0
