"""Asking: views, frames with checked schemas, curves, errors that help."""

from typing import cast

import numpy as np
import polars as pl
import pytest

from workbench import store
from workbench.store import _schemas
from workbench.store.reader import SYNC_ABOVE

VIEWS = ["runs", "metrics", "summary", "papers", "claims", "results", "machines", "annotations"]
DERIVED = ["results_latest", "claims_latest", "claims_by_paper", "drift"]


@pytest.fixture
def told(record):
    """Two runs of one paper, in which a claim's verdict changed."""
    claims = [
        {"claim_id": "deer.speed", "published": 3.0, "evidence": "measured", "claim_hash": "h1", "row": {"a": [1]}},
        {"claim_id": "deer.scale", "evidence": "measured"},
        {"claim_id": "deer.cluster", "evidence": "published"},
    ]
    paper = {"paper_id": "deer", "title": "DEER", "venue": "somewhere", "year": 2024}
    rows = [
        {"claim_id": "deer.speed", "verdict": v, "measured": 2.9, "claim_hash": "h1"} for v in ("untested", "supported")
    ]
    first = record("one", paper=paper, claims=claims, results=rows[:1], loss=[1.0])
    second = record("two", paper=paper, claims=claims, results=rows[1:], loss=[2.0], acc=[np.nan])
    return first, second


@pytest.mark.parametrize("view", VIEWS + DERIVED)
def test_an_empty_store_answers(root, view):
    with store.open(root) as log:
        assert log.sql(f"SELECT * FROM {view}").height == 0
        assert log.generation == 0
        assert log.live == []
    assert not root.exists()  # reading writes nothing


def test_the_question_of_the_readme_on_an_empty_store(root):
    with store.open(root) as log:
        assert log.sql("select verdict, count(*) as n from results group by verdict").columns == ["verdict", "n"]


@pytest.mark.parametrize("synced", [False, True])
@pytest.mark.parametrize("empty", [False, True])
def test_frames_keep_their_schemas(root, request, synced, empty):
    run_id = None
    if not empty:
        run_id, _ = request.getfixturevalue("told")
        if synced:
            store.sync(root)
    with store.open(root) as log:
        for frame, schema in (
            (log.runs(), _schemas.Runs),
            (log.summary(), _schemas.Summary),
            (log.papers(), _schemas.Papers),
            (log.claims(), _schemas.Claims),
            (log.results(), _schemas.Results),
            (log.results(latest=False), _schemas.Results),
            (log.machines(), _schemas.Machines),
        ):
            assert schema.validate(frame).columns == list(schema.columns())
            assert frame.is_empty() == empty
        if run_id:
            _schemas.Metrics.validate(log.metrics(run_id).select("step", "time"))
            _schemas.Curve.validate(log.curve(run_id, "loss"))


def test_a_machine_is_told_with_its_runs(root, record):
    ids = [record("one", a=[1.0]), record("two", a=[2.0])]
    store.sync(root)
    ids.append(record("three", a=[3.0]))
    store.delete(ids[1], root)
    with store.open(root) as log:
        (machine,) = log.machines().to_dicts()
        began = dict(log.runs().select("run_id", "started").iter_rows())
    assert machine["runs"] == 2
    assert (machine["first_run"], machine["last_run"]) == (began[ids[0]], began[ids[2]])
    assert machine["cores"] >= 1


def test_claims_and_verdicts(root, told):
    first, second = told
    for _ in range(2):
        with store.open(root) as log:
            assert log.claims()["claim_id"].to_list() == ["deer.cluster", "deer.scale", "deer.speed"]
            assert log.papers().row(0, named=True)["extra"] == '{"venue":"somewhere"}'
            assert log.results()["verdict"].to_list() == ["supported"]
            assert log.results(latest=False)["run_id"].to_list() == [first, second]
            latest = dict(log.sql("SELECT claim_id, verdict FROM claims_latest").iter_rows())
            assert latest == {"deer.cluster": "not testable", "deer.scale": "untested", "deer.speed": "supported"}
            assert log.sql("SELECT stale FROM claims_latest WHERE claim_id = 'deer.speed'").item() is False
            counts = log.sql("SELECT verdict, n FROM claims_by_paper ORDER BY verdict").rows()
            assert counts == [("not testable", 1), ("supported", 1), ("untested", 1)]
            drift = log.sql("SELECT claim_id, previous_verdict, verdict, run_id FROM drift").rows()
            assert drift == [("deer.speed", "untested", "supported", second)]
        store.sync(root)


def test_a_result_needs_known_columns(root):
    with store.run("toy", path=root) as run:
        with pytest.raises(ValueError, match="result: needs 'claim_id'"):
            run.result({"verdict": "supported"})
        with pytest.raises(ValueError, match=r"result: \['verdikt'\] are no columns"):
            run.result({"claim_id": "deer.x", "verdikt": "supported"})
        with pytest.raises(ValueError, match="paper: needs a 'paper_id'"):
            run.claims({"title": "x"}, [])
        with pytest.raises(ValueError, match=r"claims\[1\]: needs a 'claim_id'"):
            run.claims({"paper_id": "x"}, [{"claim_id": "x.a"}, {}])
        with pytest.raises(ValueError, match="same claim_id"):
            run.claims({"paper_id": "x"}, [{"claim_id": "x.a"}, {"claim_id": "x.a"}])


def test_values_of_a_result_survive(root, record):
    outcome = {"value": [1.0, np.nan, np.float32(2)], "text": "\ud800 ü"}
    record(results=[{"claim_id": "deer.x", "measured": np.inf, "outcome": outcome, "n_seeds": 5, "within_tol": False}])
    for _ in range(2):
        with store.open(root) as log:
            row = log.results().row(0, named=True)
            assert row["measured"] == np.inf
            assert row["outcome"] == '{"value":[1.0,NaN,2.0],"text":"\\\\ud800 ü"}'
            assert row["paper_id"] == "deer"
            assert (row["n_seeds"], row["within_tol"]) == (5, False)
        store.sync(root)


def test_an_unknown_run_is_answered_with_the_nearest(root, record):
    with store.open(root) as log:
        with pytest.raises(store.UnknownRun, match="no runs yet"):
            log.metrics("x")
        run_id = record("alpha", a=[1.0])
        other = record("beta", a=[1.0])
        assert log.metrics(run_id).height == 1  # it began after the log was opened
        assert log.resolve(run_id[-6:]) == run_id
        assert log.resolve(run_id[:20]) == run_id
        with pytest.raises(KeyError, match=f"names no run; nearest are .*{run_id}"):
            log.metrics(run_id.replace("alpha", "alpah"))
        with pytest.raises(KeyError, match=f"names several runs; nearest are .*{other}"):
            log.curve(run_id[:8], "a")
        for wrong in (3, ""):
            with pytest.raises(store.UnknownRun, match="must be the id of a run"):
                log.summary([cast("str", wrong)])


def test_a_log_is_a_picture_until_it_is_refreshed(root, record):
    run = store.run("toy", path=root)
    run.log(a=1.0)
    with store.open(root) as log:
        run.log(a=2.0)
        assert log.metrics(run.id).height == 1
        assert log.refresh()
        assert log.metrics(run.id).height == 2
        assert log.summary()["n"].to_list() == [2]
        assert not log.refresh()
        run.finish()
        assert log.refresh()
        assert log.runs()["status"].to_list() == ["finished"]
        store.sync(root)
        assert log.live == [run.id]
        assert log.refresh()
        assert (log.live, log.generation) == ([], 1)
        assert log.metrics(run.id)["a"].to_list() == [1.0, 2.0]
        store.tag(run.id, "x", path=root)
        assert log.refresh()
        assert log.runs()["tags"].to_list() == [["x"]]


def test_a_line_is_read_when_it_is_whole(root, append):
    run = store.run("toy", path=root)
    run.log(a=1.0)
    with store.open(root) as log:
        append(run.path / "metrics.jsonl", '{"s":1,"t":1000000,')
        log.refresh()
        assert log.metrics(run.id).height == 1
        append(run.path / "metrics.jsonl", '"m":{"a":2.0}}\n')
        log.refresh()
        assert log.metrics(run.id)["a"].to_list() == [1.0, 2.0]
    run.finish()


def test_a_grown_file_is_read_from_where_it_was_left(root, monkeypatch):
    """The part that was read is not read again: a changed early line is not seen."""
    run = store.run("toy", path=root)
    run.log_many(a=np.zeros(1000))
    with store.open(root) as log:
        file = run.path / "metrics.jsonl"
        file.write_bytes(file.read_bytes().replace(b"0.0", b"9.0"))
        run.log(a=1.0)
        log.refresh()
        assert log.metrics(run.id)["a"].sum() == 1.0
        assert log.runs()["n_rows"].item() == 1001
    run.finish()


@pytest.mark.parametrize("synced", [False, True])
def test_a_curve_keeps_its_shape(root, record, synced):
    values = np.sin(np.arange(100_000) / 1e4)
    values[54_321], values[12_345], values[77_777] = 5.0, -5.0, np.nan
    run_id = record(a=values)
    if synced:
        store.sync(root)
    with store.open(root) as log:
        thin = log.curve(run_id, "a", points=500)
        whole = log.curve(run_id, "a", points=100_000)
    assert 400 <= thin.height <= 501
    assert thin["step"].is_sorted()
    assert thin["step"].is_unique().all()
    points = dict(thin.iter_rows())
    assert (points[54_321], points[12_345]) == (5.0, -5.0)
    assert np.isnan(points[77_777])
    assert all(repr(values[step]) == repr(np.float64(value)) for step, value in points.items())
    assert whole["value"].to_numpy().tobytes() == values.tobytes()


def test_a_curve_over_the_widest_steps(root):
    with store.run("toy", path=root) as run:
        run.log_many(step=[-(2**63), *range(20), 2**63 - 2], a=range(22))
    with store.open(root) as log:
        assert log.curve(run.id, "a", points=4)["step"].to_list()[0] == -(2**63)
        with pytest.raises(ValueError, match="points: 3"):
            log.curve(run.id, "a", points=3)
        with pytest.raises(KeyError, match="'b' is no metric"):
            log.curve(run.id, "b")


def test_sql_takes_parameters(root, record):
    record("one", a=[1.0, 2.0])
    with store.open(root) as log:
        query = "SELECT value FROM metrics WHERE name = ? AND value > ?"
        assert log.sql(query, ["a", 1.5])["value"].to_list() == [2.0]
        assert log.sql("SELECT $1::INTEGER AS x", [3]).item() == 3
        with pytest.raises(ValueError, match="gives no table"):
            log.sql("-- only a comment")


def test_the_catalogue_cannot_be_written_through_a_log(root, record):
    record(a=[1.0])
    store.sync(root)
    with store.open(root) as log, pytest.raises(Exception, match="read-only"):
        log.sql("DELETE FROM cat.runs")


def test_names_of_metrics_may_differ_only_in_case(root, record):
    run_id = record(Loss=[1.0], loss=[2.0])
    with store.open(root) as log:
        assert log.metrics(run_id).select("Loss", "loss").row(0) == (1.0, 2.0)


def test_open_syncs_when_many_runs_wait(root, record):
    for _ in range(SYNC_ABOVE):
        record()
    store.open(root).close()
    assert not (root / "CURRENT").exists()
    record()
    with store.open(root) as log:
        assert (log.generation, log.live) == (1, [])
        assert log.runs().height == SYNC_ABOVE + 1


def test_two_logs_and_a_sync_in_one_process(root, record):
    record(a=[1.0])
    store.sync(root)
    with store.open(root) as first, store.open(root) as second:
        record(a=[2.0])
        store.sync(root)
        assert first.runs().height == 1
        second.refresh()
        assert second.runs().height == 2
        assert first.runs().height == 1  # it keeps its picture


def test_summary_of_some_runs(root, told):
    first, second = told
    with store.open(root) as log:
        assert set(log.summary()["run_id"]) == {first, second}
        assert log.summary([second])["name"].to_list() == ["acc", "loss"]
        row = log.summary(second).filter(pl.col("name") == "acc").row(0, named=True)
        assert np.isnan(row["last"])
        assert row["lo"] is None


def test_reports_print_themselves(root, record):
    record(a=[1.0])
    assert "generation 1: 1 runs and 1 rows" in repr(store.sync(root))
    assert repr(store.sync(root)) == "generation 1: no run has ended since"
    with store.open(root) as log:
        assert "generation=1, runs=1, live=0" in repr(log)
    with store.run("toy", path=root) as run:
        assert "running" in repr(run)
    assert "ended" in repr(run)
