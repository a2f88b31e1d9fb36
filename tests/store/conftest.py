"""Stores in temporary folders, and the ways in which a run can end badly."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench import store
from workbench.store._segment import content_size

WRITER = Path(__file__).with_name("writer_process.py")


@pytest.fixture(autouse=True)
def _no_store_of_the_user(monkeypatch):
    """A test that forgets `path=` must not write into somebody's store."""
    monkeypatch.delenv("WORKBENCH_STORE", raising=False)


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def record(root):
    """`record("study", loss=[…])`: one finished run with steps 0, 1, …; returns its id."""

    def make(study="toy", config=None, results=(), paper=None, claims=(), tags=(), **columns):
        with store.run(study, config, path=root, tags=tags) as run:
            if columns:
                run.log_many(**columns)
            if paper:
                run.claims(paper, claims)
            for row in results:
                run.result(row)
        return run.id

    return make


@pytest.fixture
def append():
    """`append(file, text)`: write behind the last line of a segment, whose writer may keep room there."""

    def write(file: Path, text: str) -> None:
        end = content_size(file)
        with file.open("r+b") as lines:
            lines.seek(end)
            lines.write(text.encode())

    return write


@pytest.fixture
def dead_pid() -> int:
    """The pid of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return child.pid


@pytest.fixture
def crash(root, dead_pid):
    """Make a run look as if its process had died `ago` seconds ago, here or on another host."""

    def make(run: store.Run, ago: float = 120.0, host: str | None = None) -> str:
        run._ended.set()  # the heartbeat stops
        run._segment._disown()  # the room behind the last line stays, as after a kill
        file = run.path / "run.json"
        facts = json.loads(file.read_text())
        facts["sessions"][-1] |= {"pid": dead_pid, "pid_started": None} | ({"host": host} if host else {})
        file.write_text(json.dumps(facts))
        then = time.time() - ago
        os.utime(run.path / "HEARTBEAT", (then, then))
        return run.id

    return make


@pytest.fixture
def writer():
    """`writer(root, study, rows, …)`: a process of its own that logs; see writer_process.py."""
    started: list[subprocess.Popen] = []

    def start(*words: object) -> subprocess.Popen:
        child = subprocess.Popen(
            [sys.executable, str(WRITER), *map(str, words)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()
