"""The catalogue: made from the folders, extended in generations, the same whenever it is made."""

import fcntl
import json
import os
import shutil

import duckdb
import numpy as np
import polars as pl
import pytest

from workbench import store
from workbench.store import _catalogue, _paths, _sync
from workbench.store._ingest import waste

TABLES = ("runs", "metrics", "summary", "machines", "papers", "claims", "results", "annotations")


def tables(root) -> dict[str, pl.DataFrame]:
    """Every public view and, sorted, every table of the catalogue."""
    with store.open(root) as log:
        found = {name: log.sql(f"FROM {name} ORDER BY ALL") for name in TABLES}
        if log.generation:
            bare = ("runs", "metrics", "summary", "machines", "papers", "claims", "results")
            found |= {f"cat.{name}": log.sql(f"FROM cat.{name} ORDER BY ALL") for name in bare}
        return found


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, frame in first.items():
        assert frame.equals(second[name], null_equal=True), name


def paper(year=2024, **more):
    return {"paper_id": "deer", "title": "A paper", "year": year, **more}


def claim(key="speedup", **more):
    return {"claim_id": f"deer.{key}", "statement": "it is faster", "published": 3.0, "verified": True, **more}


def test_sync_shows_what_was_live(root, record):
    record(loss=[3.0, np.nan, 1.0], config={"x": 1}, tags=["t"])
    record("other", paper=paper(), claims=[claim()], results=[{"claim_id": "deer.speedup", "verdict": "supported"}])
    before = tables(root)
    report = store.sync(root)
    assert (report.generation, report.runs_added, report.rows_added) == (1, 2, 3)
    after = tables(root)
    for name in TABLES:
        assert before[name].drop("run_no", strict=False).equals(after[name].drop("run_no", strict=False)), name
    assert before["runs"]["run_no"].to_list() == [None, None]
    assert after["runs"]["run_no"].to_list() == [1, 2]


def test_nothing_new_means_no_new_generation(root, record):
    assert store.sync(root).skipped_because == "the store holds no runs yet"
    assert not root.exists()
    with store.run("toy", path=root):
        assert store.sync(root).skipped_because == "no run has ended yet"
        assert not (root / "CURRENT").exists()
    assert store.sync(root).generation == 1
    again = store.sync(root)
    assert (again.generation, again.runs_added) == (1, 0)
    assert again.skipped_because == "no run has ended since"


def test_three_generations_are_kept(root, record):
    for number in range(1, 6):
        record(a=[1.0])
        assert store.sync(root).generation == number
    assert _paths.generations(root) == [3, 4, 5]
    assert (root / "CURRENT").read_text() == "5\n"
    assert not list(root.glob("*.wal"))
    assert not list(root.glob(".draft*"))


def test_rebuild_gives_the_tables_that_syncs_gave(root, record, crash):
    """Whatever the order: an early run that ends late, a crash, a resume, a paper whose claims changed."""
    early = store.run("early", path=root)
    early.log(a=0.5)
    late = record("late", paper=paper(2023), claims=[claim("speedup"), claim("gone")], a=[1.0, 2.0])
    store.sync(root)
    record("newer", paper=paper(2024), claims=[claim("speedup"), claim("new")], results=[{"claim_id": "deer.new"}])
    crashed = store.run("crashed", path=root)
    crashed.log_many(a=np.arange(100))
    crash(crashed)
    store.sync(root)
    with store.resume(late, root) as again:
        again.log(b=np.inf)
    early.claims(paper(1999), [claim("old")])
    early.finish()
    store.sync(root)
    store.tag(late, "x", path=root)
    synced = tables(root)
    assert synced["papers"]["year"].to_list() == [2024]
    assert synced["claims"]["claim_id"].to_list() == ["deer.new", "deer.speedup"]
    store.rebuild(root)
    assert_same(synced, tables(root))
    for path in [root / "CURRENT", *root.glob("catalog-*")]:
        path.unlink()
    assert store.sync(root).generation == 1
    assert_same(synced, tables(root))


def test_a_lost_catalogue_file_is_made_again(root, record):
    record(a=[1.0])
    store.sync(root)
    expected = tables(root)
    (root / "catalog-000001.duckdb").unlink()
    assert store.check(root).missing == ("catalog-000001.duckdb (named by CURRENT)",)
    assert store.sync(root).runs_added == 1
    assert_same(expected, tables(root))


def test_a_busy_lock(root, record):
    record(a=[1.0])
    fd = os.open(root / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    report = store.sync(root, wait=False)
    assert (report.generation, report.skipped_because) == (0, "another process is syncing")
    os.close(fd)
    assert store.sync(root, wait=False).generation == 1


def test_a_sync_that_was_killed_leaves_no_trace(root, record):
    record(a=[1.0])
    (root / ".draft-000001.duckdb").write_bytes(b"half")
    (root / ".draft-000001.duckdb.wal").write_bytes(b"half")
    assert store.check(root).orphans == (".draft-000001.duckdb", ".draft-000001.duckdb.wal")
    assert store.sync(root).generation == 1
    assert store.check(root).ok


def test_a_failed_ingestion_changes_nothing(root, record, monkeypatch):
    record(a=[1.0])
    store.sync(root)
    record(a=[2.0])

    def fail(*_):
        raise OSError("disk gone")

    monkeypatch.setattr("workbench.store._ingest.load_metrics", fail)
    with pytest.raises(OSError, match="disk gone"):
        store.sync(root)
    monkeypatch.undo()
    assert (root / "CURRENT").read_text() == "1\n"
    assert store.sync(root).runs_added == 1
    assert store.check(root).ok


def test_torn_and_foreign_lines_are_left_out(root, append):
    run = store.run("toy", path=root)
    run.log(a=1.0)
    run.result({"claim_id": "deer.x"})
    with (run.path / "results.jsonl").open("a") as lines:
        lines.write('{"claim_id":"de')
    run.result({"claim_id": "deer.y"})
    run.finish()
    foreign = 'garbage\n\n[1]\n{"s":7}\n{"s":1,"t":2000000,"m":{"a":2.0}}\n{"s":2,"t":2000000,"m":{"a":3.'
    append(run.path / "metrics.jsonl", foreign)
    with store.open(root) as log:
        live = log.metrics(run.id)["a"].to_list()
    store.sync(root)
    with store.open(root) as log:
        assert log.metrics(run.id)["a"].to_list() == live == [1.0, 2.0]
        assert log.results()["claim_id"].to_list() == ["deer.x", "deer.y"]
    report = store.check(root)
    assert report.torn == (f"{run.id}/metrics.jsonl", f"{run.id}/results.jsonl (1)")
    assert not report.ok


def test_space_of_replaced_runs_is_given_back(root, record, monkeypatch):
    monkeypatch.setattr(_sync, "_COMPACT_ABOVE", 0)
    run_id = record(a=np.random.default_rng(0).normal(size=400_000))
    store.sync(root)
    sizes = [_paths.catalogue(root, 1).stat().st_size]
    for generation in range(2, 6):
        store.resume(run_id, root).finish()
        assert store.sync(root).generation == generation
        sizes.append(_paths.catalogue(root, generation).stat().st_size)
        assert waste(_paths.catalogue(root, generation)) <= _sync.WASTE
    assert max(sizes) < 2 * sizes[0]
    with store.open(root) as log:
        assert log.metrics(run_id).height == 400_000


def newer(root):
    with duckdb.connect(str(_paths.catalogue(root, 1))) as con:
        con.execute("INSERT INTO schema_version VALUES (99, 'future', now()::TIMESTAMP)")


@pytest.mark.parametrize("ask", [store.open, store.sync, store.check])
def test_a_newer_catalogue_is_refused(root, record, ask):
    record(a=[1.0])
    store.sync(root)
    newer(root)
    with pytest.raises(store.StoreVersionError, match="schema_version 99, this workbench knows up to 2"):
        ask(root)
    store.rebuild(root)  # which the message offers
    ask(root)


def test_a_newer_run_is_refused(root, record):
    run_id = record(a=[1.0])
    file = root / "runs" / run_id / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 99}))
    for ask in (store.open, store.sync, store.rebuild):
        with pytest.raises(store.StoreVersionError, match=f"run {run_id}: schema_version is 99"):
            ask(root)


def test_an_older_catalogue_gets_the_new_tables(root, record, tmp_path, monkeypatch):
    record(a=[1.0])
    store.sync(root)
    folder = tmp_path / "sql"
    shutil.copytree(_paths.sql_folder(), folder)
    (folder / "0003_more.sql").write_text("CREATE TABLE more (x INTEGER); INSERT INTO more VALUES (7);")
    monkeypatch.setattr(_catalogue, "sql_folder", lambda: folder)
    with pytest.raises(RuntimeError, match="older schema_version 2; run `workbench store sync` once"):
        store.open(root)
    assert store.sync(root).generation == 2
    with store.open(root) as log:
        assert log.sql("SELECT x FROM cat.more").item() == 7
        assert log.sql("SELECT version, name FROM cat.schema_version ORDER BY version").rows() == [
            (1, "0001_tables"),
            (2, "0002_run_keys"),
            (3, "0003_more"),
        ]
        assert log.runs().height == 1


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_export(root, record, tmp_path, format):
    record(
        "first", a=[1.0, np.nan], results=[{"claim_id": "deer.x", "measured": 2.5}], paper=paper(), claims=[claim("x")]
    )
    store.sync(root)
    record("second", a=[2.0])
    hidden = record("third", a=[3.0])
    store.delete(hidden, path=root)
    files = store.export(root, tmp_path / "out", format)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    rows = {name: table["rows"] for name, table in manifest["tables"].items()}
    assert rows == {"runs": 2, "metrics": 3, "summary": 2, "machines": 1, "papers": 1, "claims": 1, "results": 1} | {
        "annotations": 1
    }
    assert {file.name for file in files} == {f"{name}.{format}" for name in rows} | {"manifest.json"}
    read = pl.read_parquet if format == "parquet" else pl.read_csv
    metrics = read(tmp_path / "out" / f"metrics.{format}").cast({"value": pl.Float64})
    assert [repr(v) for v in metrics.sort("run_id", "step")["value"]] == ["1.0", "nan", "2.0"]
    with pytest.raises(ValueError, match="format: 'json'"):
        store.export(root, tmp_path, "json")


def test_a_path_with_odd_characters(tmp_path):
    root = tmp_path / "it's [a] *store"
    with store.run("toy", path=root) as run:
        run.log(a=1.0)
    with store.open(root) as log:
        assert log.metrics(run.id)["a"].to_list() == [1.0]
        store.sync(root)
        assert log.refresh()
        assert log.metrics(run.id)["a"].to_list() == [1.0]
    store.export(root, root / "out")


def test_checkpoints_of_a_study_are_no_orphans(root, record):
    record(a=[1.0])
    (store.unfinished("toy", {}, root) / "seed-0").mkdir(parents=True)
    assert store.check(root).ok


def test_check_reports(root, record):
    assert store.check(root).runs == 0
    run_id = record(a=[1.0])
    waiting = store.check(root)
    assert waiting.live == (run_id,)
    assert waiting.ok
    store.sync(root)
    record(a=[2.0])
    (root / "runs" / ".new-something").mkdir()
    (root / "runs" / "notes.txt").touch()
    (root / "runs" / "20260101-000000-empty-abcdef").mkdir()
    shutil.rmtree(root / "runs" / run_id)
    report = store.check(root)
    assert report.missing == (run_id,)
    assert report.orphans == ("runs/.new-something", "runs/20260101-000000-empty-abcdef", "runs/notes.txt")
    assert report.schema_version == 2
    assert report.catalogue_bytes > report.runs_bytes > 0
    for word in ("generation 1", "schema 2", run_id, "runs/notes.txt", "not well"):
        assert word in repr(report)
    with store.open(root) as log:  # a folder without a record disturbs nobody
        assert log.runs().height == 2


def test_runs_that_begin_one_after_the_other_never_share_a_key(root, monkeypatch):
    """Their digits once ran over into the seconds, and a sync ended in a duplicate key."""
    ids = iter(["20261124-093000-a-01000000", "20261124-093001-a-00000000", "20261124-093001-a-01000000"])
    monkeypatch.setattr("workbench.store.recorder.new_run_id", lambda study: next(ids))
    for value in (1.0, 2.0, 3.0):
        with store.run("a", path=root) as run:
            run.log(a=value)
    assert store.sync(root).runs_added == 3
    with store.open(root) as log:
        assert [log.metrics(one)["a"].item() for one in sorted(log.runs()["run_id"])] == [1.0, 2.0, 3.0]


def test_a_catalogue_of_older_tables_is_made_anew(root, record):
    """Not migrated row by row: what it held is in the runs, and its keys may have been others."""
    run_id = record("a", loss=[1.0, 2.0])
    store.sync(root)
    with duckdb.connect(str(root / "catalog-000001.duckdb")) as con:
        con.execute("DELETE FROM schema_version WHERE version > 1")
        con.execute("UPDATE runs SET run_key = 7")
        con.execute("UPDATE metrics SET run_key = 7")
    with pytest.raises(RuntimeError, match="older schema_version 1; run `workbench store sync` once"):
        store.open(root)
    assert store.sync(root).generation == 2
    with store.open(root) as log:
        assert log.metrics(run_id)["loss"].to_list() == [1.0, 2.0]
        assert log.runs().height == 1
