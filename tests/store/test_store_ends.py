"""How a run ends: finished, failed, interrupted, crashed; and how it goes on."""

import json
import os
import time

import numpy as np
import pytest

from workbench import store
from workbench.store import _folder


def statuses(root):
    with store.open(root) as log:
        return dict(log.runs().select("run_id", "status").iter_rows())


def test_the_end_of_the_block_is_the_end_of_the_run(root):
    with store.run("toy", path=root) as run:
        assert statuses(root) == {run.id: "running"}
        sum(range(10**6))
    done = json.loads((run.path / "DONE").read_text())
    assert done["wall_s"] > 0
    assert done["cpu_s"] > 0
    assert done["peak_memory_bytes"] > 1e6
    assert statuses(root) == {run.id: "finished"}
    run.finish()
    assert json.loads((run.path / "DONE").read_text()) == done
    with pytest.raises(RuntimeError, match=r"has ended or .*store\.resume"):
        run.log(a=1.0)


@pytest.mark.parametrize(
    ("error", "status"), [(ZeroDivisionError("by zero"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
@pytest.mark.parametrize("synced", [False, True])
def test_an_error_ends_the_run_and_goes_on(root, error, status, synced):
    with pytest.raises(type(error)), store.run("toy", path=root) as run:  # noqa: PT012
        run.log(a=1.0)
        raise error
    if synced:
        store.sync(root)
    with store.open(root) as log:
        row = log.runs().row(0, named=True)
    assert row["status"] == status
    assert row["error"] == type(error).__name__ + (": by zero" if error.args else "")
    assert "raise error" in _folder.read_ending(run.path)["traceback"]
    assert row["n_rows"] == 1


@pytest.mark.parametrize(("code", "status"), [(0, "finished"), (None, "finished"), (3, "failed")])
def test_leaving_by_sys_exit(root, code, status):
    with pytest.raises(SystemExit), store.run("toy", path=root) as run:
        raise SystemExit(code)
    assert statuses(root) == {run.id: status}


def test_the_heartbeat_beats(root, monkeypatch):
    monkeypatch.setattr("workbench.store.writer.HEARTBEAT_S", 0.02)
    with store.run("toy", path=root) as run:
        os.utime(run.path / "HEARTBEAT", (0, 0))
        for _ in range(3000):
            if _folder.heartbeat(run.path) > 0:
                break
            time.sleep(0.02)
        assert time.time() - _folder.heartbeat(run.path) < 60


@pytest.mark.parametrize(
    ("ago", "host", "status"),
    [
        (120, None, "crashed"),
        (30, None, "running"),  # it may only be slow to tell
        (120, "elsewhere", "running"),  # its process cannot be asked, so wait longer
        (700, "elsewhere", "crashed"),
    ],
)
def test_a_crash_is_recognised(root, crash, ago, host, status):
    run = store.run("toy", path=root)
    run.log(a=1.0)
    crash(run, ago, host)
    assert statuses(root) == {run.id: status}
    report = store.sync(root)
    assert report.runs_added == (status == "crashed")
    if status == "crashed":
        assert statuses(root) == {run.id: "crashed"}
        assert store.check(root).crashed == (run.id,)


def test_a_silent_run_whose_process_lives_has_not_crashed(root):
    run = store.run("toy", path=root)
    os.utime(run.path / "HEARTBEAT", (0, 0))  # a laptop that slept
    assert statuses(root) == {run.id: "running"}
    run.finish()


def test_a_pid_that_was_given_again_is_another_process(root, crash):
    run = store.run("toy", path=root)
    crash(run)
    facts = json.loads((run.path / "run.json").read_text())
    facts["sessions"][-1] |= {"pid": os.getpid(), "pid_started": 1}
    (run.path / "run.json").write_text(json.dumps(facts))
    assert statuses(root) == {run.id: "crashed"}


@pytest.mark.parametrize("synced", [False, True])
@pytest.mark.parametrize("end", ["failed", "crashed", "finished"])
def test_a_resumed_run_goes_on(root, crash, end, synced, append):
    run = store.run("toy", path=root)
    run.log_many(step=[0, 1, 2], a=[0.0, 1.0, 2.0])
    if end == "crashed":
        crash(run)
        append(run.path / "metrics.jsonl", '{"s":3,"t":1000000,"m":{"a"')
    elif end == "failed":
        run.fail(RuntimeError("no"))
    else:
        run.finish()
    if synced:
        assert store.sync(root).runs_added == 1
    again = store.resume(run.id, root)
    assert statuses(root) == {run.id: "running"}
    again.log(a=30.0)
    again.log(step=1, a=10.0)
    with store.open(root) as log:
        assert log.live == [run.id]
        assert log.metrics(run.id)["a"].to_list() == [0.0, 10.0, 2.0, 30.0]
        assert log.curve(run.id, "a")["value"].to_list() == [0.0, 10.0, 2.0, 30.0]
    again.finish()
    assert (run.path / "metrics-2.jsonl").exists()
    assert store.sync(root).runs_added == 1
    assert store.sync(root).runs_added == 0
    with store.open(root) as log:
        assert log.live == []
        assert log.metrics(run.id)["a"].to_list() == [0.0, 10.0, 2.0, 30.0]
        row = log.runs().row(0, named=True)
        assert (row["status"], row["n_rows"], row["error"]) == ("finished", 5, None)


def test_a_long_resumed_curve_shows_only_the_last_values(root):
    with store.run("toy", path=root) as run:
        run.log_many(a=np.full(5000, 100.0))
    with store.resume(run.id, root) as again:
        again.log_many(step=range(5000), a=np.zeros(5000))
    with store.open(root) as log:
        assert log.curve(run.id, "a", points=100)["value"].max() == 0.0


def test_time_and_sessions_add_up(root):
    with store.run("toy", path=root) as run:
        time.sleep(0.05)
    first = json.loads((run.path / "DONE").read_text())
    with store.resume(run.id, root):
        time.sleep(0.05)
    second = json.loads((run.path / "DONE").read_text())
    assert second["wall_s"] >= first["wall_s"] + 0.05
    assert second["cpu_s"] >= first["cpu_s"]
    with store.open(root) as log:
        assert len(log.details(run.id)["sessions"]) == 2


def test_a_running_run_is_not_resumed(root):
    told = f"still being written by process {os.getpid()}"
    with store.run("toy", path=root) as run, pytest.raises(RuntimeError, match=told):
        store.resume(run.id, root)
    with pytest.raises(KeyError, match="nearest are " + run.id):
        store.resume(run.id[:-3] + "zzz", root)


def test_a_crashed_run_that_comes_back_is_taken_in_again(root, crash, append):
    """Its host was only cut off: it writes on, in the same file, after a sync has called it crashed."""
    run = store.run("toy", path=root)
    run.log(a=1.0)
    crash(run, 700, "elsewhere")
    assert store.sync(root).runs_added == 1
    append(run.path / "metrics.jsonl", '{"s":1,"t":1000000,"m":{"a":2.0}}\n')
    os.utime(run.path / "HEARTBEAT")
    assert statuses(root) == {run.id: "running"}
    assert store.sync(root).runs_added == 0
    (run.path / "DONE").write_text(json.dumps({"status": "finished", "finished": _folder.utc(), "wall_s": 1.0}))
    assert store.sync(root).rows_added == 2
    assert statuses(root) == {run.id: "finished"}


def test_a_crashed_run_that_comes_back_without_a_new_row(root, crash):
    """Its heartbeat alone tells that it lives, and its end alone that it has ended well."""
    run = store.run("toy", path=root)
    run.log(a=1.0)
    crash(run, 700, "elsewhere")
    store.sync(root)
    os.utime(run.path / "HEARTBEAT")
    assert statuses(root) == {run.id: "running"}
    then = time.time() - 700
    os.utime(run.path / "HEARTBEAT", (then, then))
    (run.path / "DONE").write_text(json.dumps({"status": "finished", "finished": _folder.utc(), "wall_s": 1.0}))
    assert store.sync(root).runs_added == 1
    assert statuses(root) == {run.id: "finished"}
