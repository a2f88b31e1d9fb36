"""The `workbench` command: every subcommand is a frozen dataclass, and its fields are its options.

Nothing heavy is imported before a command runs, so `workbench --help` answers at once.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from workbench.cli_store import Store, StoreGroup
from workbench.errors import NotConverged

Slugs = Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[SLUG ...]")]


@dataclass(frozen=True)
class List:
    """The papers of the catalogue, with the number of their claims and how these stand."""

    store: Store = None

    def __call__(self) -> int:
        from workbench.commands import tables

        return tables.papers(self.store)


@dataclass(frozen=True)
class Show:
    """One paper: what it says, its claims, what was found here, and how to run it."""

    slug: tyro.conf.Positional[str]
    """The short name of the paper, as `workbench list` prints it."""
    store: Store = None

    def __call__(self) -> int:
        from workbench.commands import tables

        return tables.paper(self.slug, self.store)


@dataclass(frozen=True)
class Reproduce:
    """Run studies and hold what they find against the published figures.

    Exit code 0 unless a study crashed or, with --strict, a verdict differs from the committed expectation.
    """

    slugs: Slugs = ()
    """The papers to run; all of them when none is named."""
    preset: Literal["quick", "full", "gpu"] = "quick"
    """quick takes seconds a study, full minutes; gpu is full at the size of an accelerator, where a study has it."""
    seeds: int | None = None
    """How many seeds a stochastic study runs; the preset's own number by default."""
    jobs: int = 1
    """How many studies run at a time."""
    cluster: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Run on the workers of this Dask scheduler instead, for example tcp://host:8786."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the rows as one JSON array, and nothing else, on standard output."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the newest batch: leave out the studies that it has finished."""
    strict: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fail when a verdict differs from `<slug>.expected.toml`."""
    accept: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write the verdicts found as the new expectation."""
    everything: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """List the claims that cannot be tested here one by one, too."""
    store: Store = None

    def __call__(self) -> int:
        from workbench.commands import reproducing

        return reproducing.command(self)


@dataclass(frozen=True)
class Runs:
    """The runs in the store, newest first."""

    study: str | None = None
    """Only runs of this study."""
    status: Literal["running", "finished", "failed", "interrupted", "crashed"] | None = None
    """Only runs with this status."""
    tag: str | None = None
    """Only runs with this tag."""
    limit: int = 20
    """How many runs to list."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the rows as one JSON array."""
    store: Store = None

    def __call__(self) -> int:
        from workbench.commands import tables

        return tables.runs(self)


@dataclass(frozen=True)
class Compare:
    """What differs between two runs: configuration, code, packages, machine, and the last value of each metric."""

    first: tyro.conf.Positional[str]
    """A run id, or the beginning of one."""
    second: tyro.conf.Positional[str]
    """The run to compare it with."""
    store: Store = None

    def __call__(self) -> int:
        from workbench.commands import tables

        return tables.compare(self.first, self.second, self.store)


@dataclass(frozen=True)
class Report:
    """All claims and what was found, as a table here or as one self-contained HTML file."""

    slugs: Slugs = ()
    """Only these papers."""
    html: Path | None = None
    """Write the report to this file."""
    store: Store = None

    def __call__(self) -> int:
        from workbench.commands import reproducing

        return reproducing.write_report(self)


@dataclass(frozen=True)
class Dashboard:
    """Open the dashboard in a browser. It listens on this machine only."""

    port: int = 5006
    """The port to listen on."""
    address: str = "127.0.0.1"
    """Another address needs --basic-auth and --cookie-secret."""
    basic_auth: Path | None = None
    """A file with user names and passwords, for an address that others can reach."""
    cookie_secret: str | None = None
    """Signs the cookies of users who have logged in."""
    open: bool = True
    """Open a browser."""
    store: Store = None

    def __call__(self) -> int:
        from workbench.commands import launching

        return launching.dashboard(self)


@dataclass(frozen=True)
class Lab:
    """Open the notebooks in JupyterLab."""

    port: int = 8888
    """The port to listen on."""
    open: bool = True
    """Open a browser."""
    folder: Path | None = None
    """Where the notebooks lie; an installed package copies its own to ./workbench-notebooks first."""

    def __call__(self) -> int:
        from workbench.commands import launching

        return launching.lab(self)


@dataclass(frozen=True)
class Calibrate:
    """Measure what this machine does, and which way of solving a recurrence is fastest on it (one to two minutes).

    Kept in the cache folder (WORKBENCH_CACHE, by default ~/.cache/workbench); `rnn.Auto` chooses by it.
    """

    refresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Measure again, whatever is kept."""

    def __call__(self) -> int:
        from workbench.commands import calibrating

        return calibrating.command(refresh=self.refresh)


@dataclass(frozen=True)
class Doctor:
    """What this installation and this machine can do, and what is missing."""

    store: Store = None

    def __call__(self) -> int:
        from workbench.commands import doctor

        return doctor.command(self.store)


Command = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Runs, tyro.conf.subcommand("runs")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[StoreGroup, tyro.conf.subcommand("store")]
    | Annotated[Dashboard, tyro.conf.subcommand("dashboard")]
    | Annotated[Lab, tyro.conf.subcommand("lab")]
    | Annotated[Calibrate, tyro.conf.subcommand("calibrate")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; a mistake of the user's ends with one sentence, not with a traceback."""
    command = tyro.cli(
        Command,
        prog="workbench",
        description="Try an idea for real, price it, and hold it against what its paper claims.",
        args=arguments,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes),
    )
    from workbench.hardware import compilation_cache

    os.environ.update(compilation_cache())  # JAX reads it when it is first imported, by the command or its children
    try:
        return command()
    except KeyboardInterrupt:
        print("interrupted; what finished is kept (workbench reproduce --resume goes on)", file=sys.stderr)
        return 130
    except (ValueError, KeyError, FileNotFoundError, ImportError, NotConverged) as error:
        print(f"workbench: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
