"""Many processes at once, and processes that are killed: no lock error, no lost row but a torn last line."""

import random
import signal
import time

from workbench import store
from workbench.store import _folder

WRITERS, ROWS = 8, 400
KILLS = 50


def test_eight_writers_a_reader_and_a_sync(root, writer):
    """Runs end, are synced and are read all the time; what a reader has seen once it sees ever after."""
    children = [writer(root, f"w{number}", ROWS, 0.002, "") for number in range(WRITERS)]
    ids = [child.stdout.readline().strip() for child in children]
    seen = dict.fromkeys(ids, 0)
    began = time.monotonic()
    with store.open(root) as log:
        while any(child.poll() is None for child in children):
            assert time.monotonic() - began < 60
            store.sync(root)
            log.refresh()
            now = dict(log.runs().select("run_id", "n_rows").iter_rows())
            assert set(now) == set(ids)
            assert all(now[run_id] >= seen[run_id] for run_id in ids)
            seen = now
    assert [child.returncode for child in children] == [0] * WRITERS
    store.sync(root)
    with store.open(root) as log:
        assert log.live == []
        assert set(log.runs()["status"]) == {"finished"}
        for run_id in ids:
            frame = log.metrics(run_id)
            assert frame["step"].to_list() == list(range(ROWS))
            assert frame["loss"].to_list() == [step / 7 for step in range(ROWS)]
    assert store.check(root).ok


def test_many_syncs_at_once(root, record):
    """Several threads sync: each waits for its turn, and each run comes in once."""
    from concurrent.futures import ThreadPoolExecutor

    for number in range(12):
        record(f"study-{number}", a=[1.0])
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: store.sync(root), range(8)))
    assert sum(report.runs_added for report in reports) == 12
    assert {report.generation for report in reports} == {1}


def test_a_killed_writer_loses_at_most_a_torn_line(root, writer, monkeypatch, tmp_path):
    """kill -9 at random moments: every row whose log call had returned is there, and the run shows as crashed."""
    chance = random.Random(0)
    rows = {}
    for batch in range(0, KILLS, 10):
        progress = [tmp_path / str(batch + number) for number in range(10)]
        children = [writer(root, f"kill-{file.name}", 0, 0, file) for file in progress]
        ids = [child.stdout.readline().strip() for child in children]
        for run_id, child, file in zip(ids, children, progress, strict=True):
            time.sleep(chance.uniform(0, 0.02))
            child.send_signal(signal.SIGKILL)
            child.wait()
            rows[run_id] = int(file.read_bytes() or b"0")
    monkeypatch.setattr(_folder, "STALE_S", -1.0)  # do not wait a minute
    with store.open(root) as log:
        live = {run_id: log.metrics(run_id) for run_id in rows}
    assert store.sync(root).runs_added == KILLS
    assert sum(rows.values()) > 100 * KILLS  # they were killed at work
    with store.open(root) as log:
        assert set(log.runs()["status"]) == {"crashed"}
        for run_id, told in rows.items():
            frame = log.metrics(run_id)
            assert frame.equals(live[run_id])
            assert frame.height in (told, told + 1)  # the last may have been written and not yet told
            if told:
                assert frame["step"].to_list() == list(range(frame.height))
                assert frame["loss"].to_list() == [step / 7 for step in range(frame.height)]
