"""Tags, notes, deletion and undoing: appended, folded, never lost."""

import threading
from typing import cast

import pytest

from workbench import store


def shown(root, run_id):
    with store.open(root) as log:
        rows = {row["run_id"]: row for row in log.runs().iter_rows(named=True)}
        return rows.get(run_id)


@pytest.fixture(params=["live", "synced"])
def run_id(request, root, record):
    """A run with the tag "first", a note and a result, before and after it is in the catalogue."""
    with store.run("toy", path=root, tags=["first"], note="as begun") as run:
        run.log(a=1.0)
        run.claims({"paper_id": "deer"}, [{"claim_id": "deer.x"}])
        run.result({"claim_id": "deer.x", "verdict": "supported"})
    if request.param == "synced":
        store.sync(root)
    return run.id


def test_tags_and_notes(root, run_id):
    store.tag(run_id, "b", "a", path=root)
    store.tag(run_id, "a", path=root)
    store.note(run_id, "good", path=root)
    assert shown(root, run_id)["tags"] == ["a", "b", "first"]
    assert shown(root, run_id)["note"] == "good"
    store.untag(run_id, "first", "b", "absent", path=root)
    store.note(run_id, "", path=root)
    assert shown(root, run_id)["tags"] == ["a"]
    assert shown(root, run_id)["note"] == ""
    store.tag(run_id, "first", path=root)
    assert shown(root, run_id)["tags"] == ["a", "first"]


def test_undo_goes_back_step_by_step(root, run_id):
    store.tag(run_id, "x", path=root)
    store.note(run_id, "good", path=root)
    store.delete(run_id, path=root)
    assert shown(root, run_id) is None
    assert store.undo(root) == f"undone: delete ({run_id})"
    assert shown(root, run_id)["note"] == "good"
    assert store.undo(root) == f"undone: note good ({run_id})"
    assert (shown(root, run_id)["note"], shown(root, run_id)["tags"]) == ("as begun", ["first", "x"])
    assert store.undo(root) == f"undone: tag x ({run_id})"
    assert shown(root, run_id)["tags"] == ["first"]
    with pytest.raises(LookupError, match="no annotation to undo"):
        store.undo(root)


def test_undo_leaves_a_resume_alone(root, run_id):
    store.tag(run_id, "x", path=root)
    with store.resume(run_id, root) as again:
        again.log(a=2.0)
    assert store.undo(root) == f"undone: tag x ({run_id})"
    with store.open(root) as log:
        assert log.metrics(run_id).height == 2


def test_a_deleted_run_is_hidden_everywhere(root, run_id, record):
    other = record("other", a=[2.0])
    store.delete(run_id, path=root)
    with store.open(root) as log:
        assert log.runs()["run_id"].to_list() == [other]
        assert log.summary()["run_id"].to_list() == [other]
        assert log.results().is_empty()
        assert log.sql("SELECT DISTINCT run_id FROM metrics")["run_id"].to_list() == [other]
        assert log.sql("SELECT verdict FROM claims_latest").item() == "untested"
        for ask in (log.metrics, log.details, log.artifacts, lambda name: log.curve(name, "a")):
            with pytest.raises(store.UnknownRun, match="names no run"):
                ask(run_id)
        assert log.sql("SELECT kind FROM annotations")["kind"].to_list() == ["delete"]
    assert store.check(root).deleted == (run_id,)
    assert (root / "runs" / run_id).is_dir()


def test_purge_removes_deleted_runs_only(root, run_id, record):
    kept = record("kept", a=[2.0])
    assert store.purge(root) == []
    store.delete(run_id, path=root)
    assert store.purge(root) == [run_id]
    assert not (root / "runs" / run_id).exists()
    with store.open(root) as log:
        assert log.runs()["run_id"].to_list() == [kept]
        assert log.sql("SELECT count(*) FROM cat.runs").item() == 1
        assert log.claims().is_empty()
    assert store.check(root).ok
    with pytest.raises(LookupError, match="no annotation to undo"):
        store.undo(root)


def test_purge_waits_for_a_running_run(root):
    run = store.run("toy", path=root)
    store.delete(run.id, path=root)
    assert store.purge(root) == []
    run.log(a=1.0)
    run.finish()
    assert store.purge(root) == [run.id]


def test_a_purge_that_was_cut_short_is_finished(root, run_id, monkeypatch):
    store.delete(run_id, path=root)

    def fail(_):
        raise OSError("killed")

    monkeypatch.setattr("workbench.store._sync.rebuild_locked", fail)
    with pytest.raises(OSError, match="killed"):
        store.purge(root)
    monkeypatch.undo()
    assert shown(root, run_id) is None
    assert store.check(root).orphans == (f"runs/.purged-{run_id}",)
    assert store.purge(root) == [run_id]
    assert store.check(root).orphans == ()
    assert shown(root, run_id) is None


def test_a_run_annotates_itself(root):
    with store.run("toy", path=root) as run:
        run.tag("good", "fast")
        run.note("look at this")
    row = shown(root, run.id)
    assert (row["tags"], row["note"]) == (["fast", "good"], "look at this")


def test_annotations_need_a_run_and_texts(root, run_id):
    with pytest.raises(store.UnknownRun, match=f"nearest are {run_id}"):
        store.tag(run_id[:-3] + "zzz", "x", path=root)
    with pytest.raises(ValueError, match="tags: name at least one"):
        store.tag(run_id, path=root)
    with pytest.raises(ValueError, match="tags: '' must be a text"):
        store.tag(run_id, "", path=root)
    with pytest.raises(TypeError, match="text: 3 must be a text"):
        store.note(run_id, cast("str", 3), path=root)
    with pytest.raises(TypeError, match="must be a sequence of texts"):
        store.run("toy", tags="one", path=root)
    store.tag(run_id[-6:], "by its end", path=root)
    assert "by its end" in shown(root, run_id)["tags"]


def test_a_torn_event_is_left_out_and_spoils_no_other(root, run_id):
    store.tag(run_id, "before", path=root)
    with (root / "annotations.jsonl").open("a") as events:
        events.write('{"id":"0","kind":"delete","run_id":"' + run_id)
    store.tag(run_id, "after", path=root)
    assert shown(root, run_id)["tags"] == ["after", "before", "first"]
    assert store.check(root).torn == ("annotations.jsonl (1)",)


def test_many_annotate_at_once(root, run_id):
    threads = [
        threading.Thread(target=lambda n=n: [store.tag(run_id, f"{n}-{i}", path=root) for i in range(10)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shown(root, run_id)["tags"]) == 81
    assert store.check(root).torn == ()
