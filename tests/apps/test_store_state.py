"""The state of the Store page: counts, the check and its commands, machines, evidence, the Python for each."""

import json
import shutil

import pytest

from apps.source import Source
from apps.store_state import StoreState, size
from apps.store_tables import evidence_html, facts_html, machines_html, report_html, tiles_html
from workbench import store

RECORD = {
    "id": "20260102-030405-toy-abcdef01", "study": "toy", "started": "2026-01-02T03:04:05+00:00",
    "config": {"preset": "full"}, "git": {"commit": "0123456789abcdef"},
    "machine": {"cpu": "EPYC", "cores": 16, "gpus": ["H100, 81559 MiB, 1.2"] * 2},
}  # fmt: skip


@pytest.fixture
def state(tmp_path):
    with store.run("toy", path=tmp_path) as run:
        run.log(loss=1.0)
    source = Source(tmp_path)
    yield StoreState(source)
    source.log.close()


def test_every_status_is_counted_and_leads_to_its_runs(source):
    counts = StoreState(source).counts()
    assert counts == {"running": 0, "finished": 4, "failed": 1, "interrupted": 0, "crashed": 0}
    assert 'href="runs?status=%5B%22failed%22%5D"' in tiles_html(counts)


def test_what_the_check_tells_is_looked_for_until_it_is_there(state):
    assert "looking" in facts_html(state)
    assert str(state.source.path) in facts_html(state)
    state.report = state.check()
    assert "looking" not in facts_html(state)
    assert "none yet" in facts_html(state)  # no catalogue
    store.sync(state.source.path)
    state.source.log.refresh()
    state.report = state.check()
    assert "generation 1" in facts_html(state)


def test_a_sound_store_is_well_and_what_waits_is_told_with_its_command(state):
    (run_id,) = state.source.runs()["run_id"]
    told = report_html(state.check(), {run_id})
    assert "✓ well" in told
    assert f"workbench store sync --store {state.source.path}" in told
    assert f'">{run_id}</a>' in told


def test_faults_are_marked_and_names_are_not_run(state):
    store.sync(state.source.path)
    for at in range(7):
        (state.source.path / "runs" / f"<script>{at}").touch()
    (run_id,) = state.source.runs()["run_id"]
    shutil.rmtree(state.source.path / "runs" / run_id)
    told = report_html(state.check(), set())
    assert "✗ not well" in told
    assert f"workbench store rebuild --store {state.source.path}" in told
    assert "and 2 more" in told
    assert "<script>" not in told


def test_machines_and_evidence_are_tables(state):
    assert machines_html(state.machines()).count("<tr>") == 2
    assert machines_html(state.machines().clear()).startswith("<p")
    assert "workbench store evidence RUN" in evidence_html(state.evidence(), set())
    folder = state.source.path / "evidence"
    folder.mkdir()
    (folder / f"{RECORD['id']}.jsonl").write_text(json.dumps({"file": "run.json", "data": RECORD}) + "\n")
    told = evidence_html(state.evidence(), {RECORD["id"]})
    for text in ("runs?run=", "full", "EPYC, 16 cores, 2 × H100", "02\u00a0Jan\u00a02026", "0123456<"):
        assert text in told


def test_the_copied_python_gives_what_the_page_shows(state, capsys):
    exec(state.check_python(), {})
    said = capsys.readouterr().out
    assert "well" in said
    assert f"workbench store sync --store {state.source.path}" in said
    for python, frame in ((state.machines_python(), state.machines()), (state.evidence_python(), state.evidence())):
        found = {}
        exec(python.replace("print(", "frame = ("), found)
        assert found["frame"].equals(frame)


@pytest.mark.parametrize(
    ("n", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (3_940_000, "3.94 MB"), (2e15, "2 000 TB")]
)
def test_a_size_has_three_digits_and_a_unit(n, said):
    assert size(n).replace("\u2009", " ") == said
