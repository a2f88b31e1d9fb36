"""`workbench calibrate`: measure this machine."""

from rich.console import Console
from rich.progress import Progress

from workbench import hardware, rnn
from workbench.commands._console import output


def command(*, refresh: bool) -> int:
    """Measure what is not kept (or everything), and print it."""
    screen = output()
    screen.print(str(hardware.calibrate(refresh=refresh)), highlight=False, markup=False)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("ways to solve a recurrence", total=None)
        facts = rnn.calibrate(refresh=refresh, progress=lambda done, of: bar.update(task, completed=done, total=of))
    screen.print(f"\nways to solve a recurrence: {len(facts.seconds)} figures, {facts.where}", highlight=False)
    screen.print(f"kept in {hardware.cache_folder()}", highlight=False)
    return 0
