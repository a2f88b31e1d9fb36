"""What a check finds, and that the commands beside the findings mend them."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from workbench import store


def mended(report, root):
    """The check after every command that it named has been run by a shell, in a process of its own."""
    for command in dict.fromkeys(finding.command for finding in report.findings if finding.command):
        here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        subprocess.run(command, shell=True, check=True, capture_output=True, env=os.environ | here)
    return store.check(root)


def test_the_commands_of_the_findings_mend_what_they_name(root, record):
    kept, lost, deleted = (record(a=[float(n)]) for n in range(3))
    store.sync(root)
    assert [finding.what for finding in store.check(root).findings] == []
    waiting = record(a=[3.0])
    shutil.rmtree(root / "runs" / lost)
    store.delete(deleted, root)
    (root / ".draft-000009.duckdb").touch()
    (root / "runs" / "notes.txt").touch()
    report = store.check(root)
    found = {name: finding for finding in report.findings for name in finding.names}
    assert found.keys() == {lost, deleted, waiting, ".draft-000009.duckdb", "runs/notes.txt"}
    assert [name for name in found if found[name].fault] == [lost, ".draft-000009.duckdb", "runs/notes.txt"]
    assert found["runs/notes.txt"].command == ""
    assert f"workbench store rebuild --store {root}" in repr(report)
    after = mended(report, root)
    assert [finding.names for finding in after.findings] == [("runs/notes.txt",)]
    with store.open(root) as log:
        assert set(log.runs()["run_id"]) == {kept, waiting}


def test_a_running_run_is_no_fault_and_needs_no_command(root, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(root))
    with store.run("toy") as run:
        (finding,) = store.check().findings
        assert (finding.names, finding.command, finding.fault) == ((run.id,), "", False)
    (finding,) = store.check().findings
    assert finding.command == "workbench store sync"  # the store of this shell need not be named
    assert store.check().synced is None
    store.sync()
    assert abs((store.check().synced - datetime.now(UTC)).total_seconds()) < 60
