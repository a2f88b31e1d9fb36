"""`workbench store`: its subcommands; see `workbench.cli`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Store = Annotated[
    Path | None, tyro.conf.arg(metavar="DIR", help="The store; by default WORKBENCH_STORE or the nearest.")
]


@dataclass(frozen=True)
class Sync:
    """Take finished runs into the catalogue."""

    store: Store = None

    def __call__(self) -> int:
        from workbench import store

        print(store.sync(self.store))
        return 0


@dataclass(frozen=True)
class Check:
    """Look for live, crashed and torn runs, and report the catalogue's generation and size."""

    store: Store = None

    def __call__(self) -> int:
        from workbench import store

        print(store.check(self.store))
        return 0


@dataclass(frozen=True)
class Rebuild:
    """Make the catalogue anew from the runs' own folders."""

    store: Store = None

    def __call__(self) -> int:
        from workbench import store

        print(store.rebuild(self.store))
        return 0


@dataclass(frozen=True)
class Export:
    """Write every table to a folder, one file each, for other tools and for the long term."""

    out: tyro.conf.Positional[Path]
    """The folder to write to."""
    format: Literal["parquet", "csv"] = "parquet"
    """Parquet keeps the types; CSV opens everywhere."""
    store: Store = None

    def __call__(self) -> int:
        from workbench import store

        for file in store.export(self.store, self.out, format=self.format):
            print(file)
        return 0


@dataclass(frozen=True)
class Evidence:
    """Keep a finished run as one file in the store's `evidence/`, to be committed: a long run, other hardware."""

    run: tyro.conf.Positional[str]
    """The run's id, or its end."""
    store: Store = None

    def __call__(self) -> int:
        from workbench import store

        print(store.keep_evidence(self.run, self.store))
        return 0


@dataclass(frozen=True)
class Import:
    """Bring runs of another tracker in: MLflow's `mlruns` folder or `mlflow.db`, TensorBoard's log folder."""

    source: tyro.conf.Positional[Path]
    """The folder or file to read."""
    kind: Literal["mlflow", "tensorboard"]
    """Which tracker wrote it."""
    store: Store = None

    def __call__(self) -> int:
        from workbench import store

        read = store.import_mlflow if self.kind == "mlflow" else store.import_tensorboard
        print(f"{len(read(self.source, path=self.store))} runs imported")
        return 0


StoreCommand = (
    Annotated[Sync, tyro.conf.subcommand("sync")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Rebuild, tyro.conf.subcommand("rebuild")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Evidence, tyro.conf.subcommand("evidence")]
    | Annotated[Import, tyro.conf.subcommand("import")]
)


@dataclass(frozen=True)
class StoreGroup:
    """The store: sync, check, rebuild, export, evidence, import."""

    command: StoreCommand

    def __call__(self) -> int:
        return self.command()
