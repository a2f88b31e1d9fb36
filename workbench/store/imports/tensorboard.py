"""TensorBoard's event files, read by TensorBoard's own reader: scalars, and hyperparameters as the config."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.store._paths import locate
from workbench.store.imports._common import Point, SourceRun, write_runs

_SESSION_START = "_hparams_/session_start_info"


def import_tensorboard(logdir: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> list[str]:
    """Import each folder at or below `logdir` with event files as one run, named like it; returns the new run ids.

    Importing again adds only folders that are new; what a folder has grown by since is not taken. A metric called step
    or time becomes "step (metric)". Raises `FileNotFoundError` when there are no event files, and `ImportError` that
    names the extra to install.
    """
    where = Path(logdir).expanduser()
    folders = sorted({file.parent for file in where.rglob("*tfevents*") if file.is_file()}) if where.is_dir() else []
    if not folders:
        raise FileNotFoundError(f"logdir: {where} holds no event files (*tfevents*), nor do the folders below it")
    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError as error:
        raise ImportError(
            "reading event files needs TensorBoard: pip install 'parallel-workbench[tensorboard]'"
        ) from error
    return write_runs(locate(path), _runs(where, folders, event_accumulator))


def _runs(where: Path, folders: list[Path], reader: Any) -> Iterator[SourceRun]:
    everything = {reader.SCALARS: 0, reader.TENSORS: 0}  # 0: keep all, do not sample
    for folder in folders:
        events = reader.EventAccumulator(str(folder), size_guidance=everything)
        events.Reload()
        points = _points(events)
        times = [time for _, _, time, _ in points] or [folder.stat().st_mtime]
        name = folder.relative_to(where).as_posix() if folder != where else where.name
        yield SourceRun(
            origin=f"tensorboard:{name}:{min(times):.6f}",
            study=name,
            started=min(times),
            finished=max(times),
            status="finished",
            points=points,
            config=_hyperparameters(events),
            tags=("tensorboard",),
        )


def _points(events: Any) -> list[Point]:
    from tensorboard.util import tensor_util

    points: list[Point] = []
    tags = events.Tags()
    for name in tags["scalars"]:
        points += [(name, event.step, event.wall_time, event.value) for event in events.Scalars(name)]
    for name in tags["tensors"]:
        metadata = events.SummaryMetadata(name)
        if metadata.plugin_data.plugin_name == "scalars":
            for event in events.Tensors(name):
                value = float(tensor_util.make_ndarray(event.tensor_proto))
                points.append((name, event.step, event.wall_time, value))
    return sorted(points, key=lambda point: (point[2], point[1]))


def _hyperparameters(events: Any) -> dict[str, Any]:
    """What `SummaryWriter.add_hparams` and the hparams plugin record at the start of a session."""
    from tensorboard.plugins.hparams import metadata

    content = events.summary_metadata.get(_SESSION_START)
    if content is None:
        return {}
    session = metadata.parse_session_start_info_plugin_data(content.plugin_data.content)
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in session.hparams.items()}
