"""Where the commands print."""

from rich.console import Console


def output() -> Console:
    """Standard output; in a file or a pipe it is as wide as the scoreboard, for nobody has to fit it on a screen."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 112))
