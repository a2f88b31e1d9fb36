"""A run writes: its own folder and nothing else. No database, no lock, no buffer of its own, so nothing is lost when
it is killed.

with store.run("my-idea", config={"learning_rate": 1e-3}) as run:
    run.log(step=0, loss=1.0)
"""

import os
import shutil
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import Any, Self

from workbench.store import _facts, annotations
from workbench.store._folder import CLAIM_COLUMNS, PAPER_COLUMNS, RESULT_COLUMNS, utc
from workbench.store._format import (
    append_line,
    column_texts,
    metric_name,
    metric_value,
    step_text,
    write_bytes,
    write_json,
)
from workbench.store._paths import check_study, segment_name
from workbench.store._segment import SegmentWriter

HEARTBEAT_S = 5.0
_ROWS_PER_WRITE = 10_000
_SIDE_FILE_TAKEN = ("run", "claims", "DONE", "FAILED")


class Run:
    """One run being recorded; made by `store.run` and `store.resume`. A context manager: its end is the run's end.

    `id` names the run, `path` is its folder. All methods may be called from several threads.
    """

    def __init__(self, folder: Path, segment: int, next_step: int, earlier: Mapping[str, float]) -> None:
        self.id, self.path = folder.name, folder
        self._root = folder.parent.parent
        self._next, self._earlier = next_step, earlier
        self._names: dict[str, str] = {}
        self._lock = threading.Lock()
        self._began, self._cpu_began = time.monotonic(), _facts.cpu_seconds()
        self._segment = SegmentWriter(folder / segment_name(segment))
        self._ended = threading.Event()
        threading.Thread(target=_beat, args=(folder / "HEARTBEAT", self._ended), daemon=True).start()

    def log(self, /, step: Any = None, **metrics: Any) -> None:
        """Append one value of each metric at `step`, durable when the call returns; without `step`, the next one.

        A value is a real scalar of Python, numpy or JAX, NaN and infinities included. Raises `ValueError` that names
        the metric for anything else, and `RuntimeError` when the run has ended.
        """
        body, names = None, self._names
        for name, value in metrics.items():
            if type(value) is float and value - value == 0.0 and name in names:  # finite, and named before
                pair = f"{names[name]}{value!r}"
            else:
                pair = self._name(name) + metric_value(name, value)
            body = pair if body is None else f"{body},{pair}"
        if body is None:
            return
        with self._lock:
            if step is None:
                step = self._next
            elif type(step) is not int or not -1 <= step >> 63 <= 0:  # more than 64 bits
                step = step_text(step)
            self._next = step + 1
            line = f'{{"s":{step},"t":{time_ns() // 1000},"m":{{{body}}}}}\n'.encode()
            try:  # the one call that every row costs stands here, not in a method: that is a twelfth of the time
                self._segment.put(line)
            except ValueError:
                self._write(line)

    def log_many(self, /, step: Any = None, **columns: Any) -> None:
        """Append many rows at once: `step` and each column are sequences or arrays of one length.

        Without `step` the rows take the next ones. All rows carry the time of the call. Raises as `log` does.
        """
        length = len(step) if step is not None else None
        texts = {}
        for name, values in columns.items():
            texts[self._name(name)] = column_texts(name, values, length)
            length = len(texts[self._name(name)])
        if not length:
            return
        # the keys go through % formatting, so a percent sign in a name is doubled
        body = ",".join(name.replace("%", "%%") + "%r" for name in texts)
        row = f'{{"s":%d,"t":{time.time_ns() // 1000},"m":{{{body}}}}}\n'
        with self._lock:
            first = self._next
            steps = [step_text(s) for s in (range(first, first + length) if step is None else step)]
            self._next = steps[-1] + 1
            for at in range(0, length, _ROWS_PER_WRITE):
                chunk = slice(at, at + _ROWS_PER_WRITE)
                rows = zip(steps[chunk], *(column[chunk] for column in texts.values()), strict=True)
                self._write("".join([row % values for values in rows]).encode())

    def artifact(self, name: str, data: bytes | str | Path) -> Path:
        """Keep bytes, text (str) or a copy of a file (Path) as `artifacts/<name>`; returns where it lies.

        Raises `ValueError` for a name that leaves the folder, `TypeError` for other data, `FileNotFoundError`.
        """
        target = self.path / "artifacts" / name
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"name: {name!r} must be a relative path inside the run's artifacts")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, Path):
            part = target.with_name(f".{target.name}.part")
            shutil.copyfile(data, part)
            part.replace(target)
        elif isinstance(data, bytes | bytearray | memoryview | str):
            write_bytes(target, data.encode() if isinstance(data, str) else bytes(data))
        else:
            raise TypeError(f"data: {type(data).__name__} must be bytes, text (str) or the path of a file (Path)")
        return target

    def result(self, row: Mapping[str, Any]) -> None:
        """Append one result of a claim: at least `claim_id`, else the columns of the table `results`.

        `paper_id` defaults to what stands before the first dot of `claim_id`. Raises `ValueError` for other columns.
        """
        _check_columns("result", row, RESULT_COLUMNS, "claim_id")
        paper = str(row["claim_id"]).partition(".")[0]
        append_line(self.path / "results.jsonl", {"paper_id": paper, "created_at": utc(), **row})

    def claims(self, paper: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]) -> None:
        """Keep the paper and its claims as they were before the run; the newest run's stand in the catalogue.

        Further keys are kept: of the paper in `extra`, of a claim in `row`. Raises `ValueError` for a missing id.
        """
        if "paper_id" not in paper:
            raise ValueError(f"paper: needs a 'paper_id'; it has {sorted(paper)}; columns are {PAPER_COLUMNS}")
        rows = [{"paper_id": paper["paper_id"], **claim} for claim in claims]
        for number, row in enumerate(rows):
            if "claim_id" not in row:
                raise ValueError(f"claims[{number}]: needs a 'claim_id'; columns are {CLAIM_COLUMNS}")
        if len({row["claim_id"] for row in rows}) < len(rows):
            raise ValueError("claims: two of them have the same claim_id")
        write_json(self.path / "claims.json", {"paper": paper, "claims": rows})

    def describe(self, name: str, facts: Mapping[str, Any]) -> None:
        """Keep a mapping as `<name>.json` in the run's folder, for instance the counts of a compiled function."""
        if name in _SIDE_FILE_TAKEN:
            raise ValueError(f"name: {name!r} is taken by the store itself")
        write_json(self.path / f"{check_study(name)}.json", facts)

    def tag(self, *tags: str) -> None:
        """Add tags to the run."""
        annotations.tag(self.id, *tags, path=self._root)

    def note(self, text: str) -> None:
        """Set the note of the run."""
        annotations.note(self.id, text, path=self._root)

    def finish(self) -> None:
        """End the run as finished; called by the end of the `with` block. Ending twice changes nothing."""
        self._end("DONE", {"status": "finished"})

    def fail(self, error: BaseException) -> None:
        """End the run as failed, or as interrupted when `error` is a `KeyboardInterrupt`, with the traceback."""
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        self._end("FAILED", {"status": status, "traceback": "".join(traceback.format_exception(error))})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        left_well = error is None or (isinstance(error, SystemExit) and not error.code)
        if left_well or error is None:
            self.finish()
        else:
            self.fail(error)

    def __repr__(self) -> str:
        return f"Run({self.id!r}, {'ended' if self._ended.is_set() else 'running'}, path={str(self.path)!r})"

    def _name(self, name: str) -> str:
        if name not in self._names:
            self._names[name] = metric_name(name)
        return self._names[name]

    def _write(self, lines: bytes) -> None:
        try:
            self._segment.write(lines)
        except ValueError:
            raise RuntimeError(
                f"run {self.id} has ended or belongs to another process; store.resume({self.id!r}) continues it"
            ) from None

    def _end(self, marker: str, facts: dict[str, Any]) -> None:
        with self._lock:
            if self._segment.closed:
                return
            self._segment.close()
        self._ended.set()
        usage = {
            "finished": utc(),
            "wall_s": time.monotonic() - self._began + self._earlier.get("wall_s", 0.0),
            "cpu_s": _facts.cpu_seconds() - self._cpu_began + self._earlier.get("cpu_s", 0.0),
            "peak_memory_bytes": max(_facts.peak_memory_bytes(), int(self._earlier.get("peak_memory_bytes", 0))),
        }
        write_json(self.path / marker, facts | usage)


def _check_columns(what: str, row: Mapping[str, Any], known: Sequence[str], needed: str) -> None:
    if needed not in row:
        raise ValueError(f"{what}: needs {needed!r}; it has {sorted(row)}")
    unknown = sorted(set(row) - set(known))
    if unknown:
        raise ValueError(f"{what}: {unknown} are no columns of the table; those are {sorted(known)}")


def _beat(file: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_S):
        try:
            os.utime(file)
        except FileNotFoundError:  # the run was purged under us; its next log call will not be seen by anyone
            return
