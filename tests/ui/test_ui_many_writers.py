"""Eight processes log at once while a page and a notebook read: no lock error, no lost row, rebuilt the same."""

import subprocess
import sys
from pathlib import Path

import jupyter_client
import pytest

from workbench import store

WRITER = Path(__file__).resolve().parents[1] / "store" / "writer_process.py"
WRITERS, ROWS = 8, 400
READ = """
from workbench import store
for _ in range(40):
    with store.open({path!r}) as log:
        seen = log.sql("select count(*) as n from metrics m join runs r using (run_id) where r.study = 'crowd'")
print("rows", seen["n"].item())
"""


def write_all(path):
    """Start the writers; they are slow enough to be read while they write."""
    words = [sys.executable, str(WRITER), str(path), "crowd", str(ROWS), "0.01", ""]
    return [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(WRITERS)]


@pytest.mark.filterwarnings("default")  # the kernel's own libraries warn as they like
def test_eight_writers_a_page_and_a_notebook(url, store_path, open_page):
    page = open_page(f"{url}/runs")
    manager, kernel = jupyter_client.manager.start_new_kernel()
    try:
        writers = write_all(store_path)
        kernel.execute(READ.format(path=str(store_path)))
        page.get_by_text("crowd-").first.wait_for()
        ids = []
        for writer in writers:
            told, _ = writer.communicate(timeout=300)
            assert writer.returncode == 0
            ids.append(told.strip())
        read = kernel.get_shell_msg(timeout=300)["content"]
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert read["status"] == "ok", read
    store.sync(store_path)
    before = tables(store_path)
    for run_id in ids:
        assert before["metrics"].filter(before["metrics"]["run_id"] == run_id).height == 2 * ROWS
    store.rebuild(store_path)
    after = tables(store_path)
    for name, frame in before.items():
        assert frame.equals(after[name]), name


def tables(path):
    """Every table, in an order of its own."""
    names = ("runs", "metrics", "summary", "papers", "claims", "results", "machines")
    with store.open(path) as log:
        return {name: log.sql(f"select * from {name} order by all") for name in names}
