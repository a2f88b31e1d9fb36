"""A file of lines in shared memory: whatever happens to its writer, readers see the whole lines and no others."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import store
from workbench.store import _segment
from workbench.store._segment import SegmentWriter, content_size, whole_lines

LINES = st.lists(st.binary(max_size=300).map(lambda b: b.replace(b"\0", b"0").replace(b"\n", b" ") + b"\n"))


@given(lines=LINES, page=st.sampled_from([1, 64]))
def test_every_line_is_there_at_once_and_nothing_else(tmp_path_factory, lines, page):
    """However the lines fall over the pieces in memory."""
    path = tmp_path_factory.mktemp("segment") / "lines"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_segment, "_FIRST", 64)
        patch.setattr(_segment, "_ROOM", 4096 * page)
        segment = SegmentWriter(path)
        written = b""
        for number, line in enumerate(lines):
            written += line
            segment.write(line * 40)
            written += line * 39
            if number % 7 == 0:
                assert content_size(path) == len(written)
        assert b"".join(whole_lines(path)) == written
        assert b"".join(whole_lines(path, len(written) // 2)) == written[len(written) // 2 :]
        segment.close()
        segment.close()
    assert path.read_bytes() == written
    assert content_size(path) == len(written)
    with pytest.raises(ValueError, match="closed"):
        segment.write(b"x\n")


def test_a_line_with_a_hole_is_not_whole_yet(tmp_path):
    """Another processor may see the end of a copy before its middle."""
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\nth\0ee\nfour\n" + b"\0" * 100)
    assert b"".join(whole_lines(path)) == b"one\ntwo\n"
    assert b"".join(whole_lines(path, 4)) == b"two\n"


@pytest.mark.parametrize("full", ["refused", "almost"])
def test_a_full_disk_takes_no_half_line(root, monkeypatch, full):
    """The error is told, nothing of the call is written, and the run goes on when there is room again."""

    def refuse(*_):
        raise OSError(28, "No space left on device")

    run = store.run("toy", path=root)
    run.log(a=1.0)
    if full == "refused":
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    else:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(OSError, match="No space"):
        run.log_many(step=range(5000), a=[2.0] * 5000)
    monkeypatch.undo()
    run.log(step=1, a=3.0)
    run.finish()
    with store.open(root) as log:
        assert log.metrics(run.id)["a"].to_list() == [1.0, 3.0]
    assert store.check(root).ok


def test_a_run_does_not_begin_on_a_full_disk(root, monkeypatch):
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(OSError, match="No space"):
        store.run("toy", path=root)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


_FORKED = """
import os, sys
from workbench import store
run = store.run("toy", path=sys.argv[1])
run.log(a=1.0)
child = os.fork()
if not child:
    try:
        run.log(a=2.0)
    except RuntimeError as error:
        told = "another process" in str(error)
        run.finish()
        os._exit(0 if told else 1)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
run.log(a=3.0)
run.finish()
"""


def test_a_forked_child_cannot_write_where_its_parent_does(root):
    subprocess.run([sys.executable, "-c", _FORKED, str(root)], check=True, timeout=120)
    with store.open(root) as log:
        assert log.metrics(log.runs()["run_id"].item())["a"].to_list() == [1.0, 3.0]
        assert log.runs()["status"].to_list() == ["finished"]


def test_the_room_that_a_killed_writer_left_is_no_content(root, crash, monkeypatch):
    """Not for a sync, a check, the step that a resumed run goes on with, or evidence of it."""
    run = store.run("toy", path=root)
    run.log_many(a=[1.0, 2.0])
    crash(run)
    left = (run.path / "metrics.jsonl").stat().st_size
    assert content_size(run.path / "metrics.jsonl") < left
    assert store.sync(root).rows_added == 2
    assert store.sync(root).runs_added == 0
    assert store.check(root).torn == ()
    again = store.resume(run.id, root)
    again.log(a=3.0)
    again.finish()
    store.sync(root)
    with store.open(root) as log:
        assert log.metrics(run.id)["a"].to_list() == [1.0, 2.0, 3.0]
        assert log.metrics(run.id)["step"].to_list() == [0, 1, 2]
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(record | {"git": {"commit": "c", "dirty": False}}))
    kept = [json.loads(line) for line in store.keep_evidence(run.id, root).read_text().splitlines()]
    told = {row["data"]["s"]: row["data"]["m"]["a"] for row in kept if row["file"].startswith("metrics")}
    assert told == {0: 1.0, 1: 2.0, 2: 3.0}


def test_an_empty_run_that_is_being_written_has_no_rows(root):
    run = store.run("toy", path=root)
    with store.open(root) as log:
        assert log.runs()["n_rows"].to_list() == [0]
        run.log(a=1.0)
        assert log.refresh()
        assert log.runs()["n_rows"].to_list() == [1]
    run.finish()
    assert (run.path / "metrics.jsonl").stat().st_size == content_size(run.path / "metrics.jsonl") > 0
