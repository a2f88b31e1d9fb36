"""Evidence: a run as one file that another checkout shows as it was."""

import json

import pytest

from workbench import store
from workbench.store import _facts

CLAIM = {
    "claim_id": "deer.speedup",
    "paper_id": "deer",
    "statement": "It is fast.",
    "kind": "bound",
    "source": "abstract",
}


@pytest.fixture
def committed(monkeypatch):
    git = {"commit": "0" * 40, "branch": "main", "dirty": False, "untracked": []}
    monkeypatch.setattr(_facts, "git", lambda: (git, b""))
    return git


def recorded(root):
    with store.run("deer", {"preset": "full", "batch": 8, "batch_id": "here"}, path=root) as run:
        run.claims({"paper_id": "deer", "title": "A paper", "year": 2024}, [CLAIM])
        run.log(step=0, loss=1.5)
        run.log_many(step=[1, 2], loss=[1.0, 0.5])
        run.result({"claim_id": "deer.speedup", "paper_id": "deer", "measured": 2.0, "verdict": "supported"})
    return run.id


def test_a_sync_elsewhere_shows_the_run_as_it_was(tmp_path, committed):
    here, there = tmp_path / "here", tmp_path / "there"
    run_id = recorded(here)
    file = store.keep_evidence(run_id, here)
    (there / "evidence").mkdir(parents=True)
    (there / "evidence" / file.name).write_bytes(file.read_bytes())
    assert store.sync(there).runs_added == 1
    assert store.sync(there).runs_added == 0
    for root in (here, there):
        store.sync(root)
    with store.open(here) as one, store.open(there) as other:
        assert other.metrics(run_id).equals(one.metrics(run_id))
        columns = ["claim_id", "measured", "verdict", "created_at"]
        assert other.results().select(columns).equals(one.results().select(columns))
        assert {name: other.details(run_id)["config"][name] for name in ("batch", "batch_id")} == {
            "batch": 8,
            "batch_id": "",
        }
        assert one.runs()["host"].to_list() != other.runs()["host"].to_list() == ["evidence"]
    assert store.check(there).crashed == store.check(here).crashed


def test_a_purged_run_stays_away(tmp_path, committed):
    run_id = recorded(tmp_path)
    store.keep_evidence(run_id, tmp_path)
    store.delete(run_id, tmp_path)
    assert store.purge(tmp_path) == [run_id]
    store.sync(tmp_path)
    assert store.open(tmp_path).runs().is_empty()


def test_the_evidence_files_are_listed_with_machine_date_and_commit(tmp_path, committed):
    assert store.evidence(tmp_path / "nothing").is_empty()
    files = [store.keep_evidence(recorded(tmp_path), tmp_path) for _ in range(2)]
    found = store.evidence(tmp_path)
    assert sorted(found["file"]) == sorted(map(str, files))
    assert found["started"].is_sorted(descending=True)
    row = found.row(0, named=True)
    assert (row["study"], row["preset"], row["commit"]) == ("deer", "full", "0" * 40)
    with store.open(tmp_path) as log:
        run = log.runs().filter(run_id=row["run_id"]).row(0, named=True)
        assert row["started"] == run["started"]
    assert row["cores"] == _facts.machine()["cores"]
    assert row["bytes"] == files[1].stat().st_size


@pytest.mark.parametrize("text", ["", "[1]\n", "{", '{"file": "run.json", "data": {"study": "deer"}}\n'])
def test_a_file_that_is_no_evidence_is_named(tmp_path, text):
    (tmp_path / "evidence").mkdir()
    file = tmp_path / "evidence" / "odd.jsonl"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"odd\.jsonl: must begin with the record of a run"):
        store.evidence(tmp_path)


def test_what_nobody_could_repeat_is_no_evidence(tmp_path, committed):
    committed["dirty"] = True
    run_id = recorded(tmp_path)
    with pytest.raises(ValueError, match="uncommitted code"):
        store.keep_evidence(run_id, tmp_path)
    committed["dirty"] = False
    with pytest.raises(RuntimeError, match="on purpose"), store.run("deer", path=tmp_path) as run:
        raise RuntimeError("on purpose")
    with pytest.raises(ValueError, match="failed"):
        store.keep_evidence(run.id, tmp_path)


def test_evidence_names_no_host_and_no_folder(tmp_path, committed):
    file = store.keep_evidence(recorded(tmp_path), tmp_path)
    text = file.read_text()
    assert str(tmp_path) not in text
    assert f'"host": "{_facts.host()}"' not in text.replace('":"', '": "')
    assert {json.loads(line)["file"] for line in text.splitlines()} == {
        "run.json", "DONE", "claims.json", "results.jsonl", "metrics.jsonl"
    }  # fmt: skip
