"""Runs of MLflow and TensorBoard become run folders; importing again changes nothing."""

import builtins
import importlib
import json
import math
import sqlite3
import sys
from datetime import UTC
from typing import Any

import pytest
from dataframely.exc import ValidationError

from workbench import store
from workbench.store.imports._common import SourceRun, write_runs

START = 1_700_000_000_000  # ms


@pytest.fixture
def mlruns(tmp_path):
    """A file store as MLflow writes it: an experiment with a good, a failed and a deleted run."""
    folder = tmp_path / "mlruns"
    experiment = folder / "123"
    experiment.mkdir(parents=True)
    (experiment / "meta.yaml").write_text(
        "artifact_location: file:///x\nexperiment_id: '123'\nlifecycle_stage: active\nname: 'My experiment: two'\n"
    )
    (folder / "0").mkdir()
    (folder / "0" / "meta.yaml").write_text("name: Default\nexperiment_id: '0'\n")
    (folder / "models").mkdir()
    for name, status, stage, end in (
        ("a" * 32, 3, "active", START + 5000),
        ("b" * 32, 4, "active", "null"),
        ("c" * 32, 3, "deleted", START),
        ("d" * 32, 1, "active", "null"),
    ):
        run = experiment / name
        for part in ("metrics/val", "params", "tags", "artifacts/plots"):
            (run / part).mkdir(parents=True)
        (run / "meta.yaml").write_text(
            f"end_time: {end}\nlifecycle_stage: {stage}\nrun_id: {name}\nrun_uuid: {name}\n"
            f"start_time: {START}\nstatus: {status}\nsource_version: ''\n"
        )
        (run / "metrics" / "loss").write_text(f"{START + 1} 2.5 0\n{START + 2} nan 1\n{START + 3} inf 2\n")
        (run / "metrics" / "val" / "acc").write_text(f"{START + 2} 0.5 1\n")
        (run / "metrics" / "step").write_text(f"{START + 2} 7 1\n")
        (run / "params" / "lr").write_text("0.001")
        (run / "tags" / "team").write_text("blue")
        (run / "tags" / "mlflow.note.content").write_text("a note\nof two lines")
        (run / "tags" / "mlflow.runName").write_text("wise-owl")
        (run / "tags" / "mlflow.source.git.commit").write_text("f" * 40)
        (run / "artifacts" / "plots" / "x.txt").write_text("plot")
    return folder


def test_mlflow_files(root, mlruns):
    added = store.import_mlflow(mlruns, root)
    assert len(added) == 3
    assert store.import_mlflow(mlruns, root) == []
    store.sync(root)
    assert store.import_mlflow(mlruns, root) == []
    with store.open(root) as log:
        rows = {row["origin"]: row for row in log.runs().iter_rows(named=True)}
        statuses = {origin[7]: row["status"] for origin, row in rows.items()}
        assert statuses == {"a": "finished", "b": "failed", "d": "interrupted"}
        row = rows["mlflow:" + "a" * 32]
        assert row["study"] == "My-experiment-two"
        assert row["started"].replace(tzinfo=UTC).timestamp() == START / 1000
        assert row["wall_s"] == 5.0
        assert json.loads(row["config"]) == {"lr": "0.001"}
        assert row["tags"] == ["mlflow", "team=blue", "wise-owl"]
        assert (row["note"], row["git_commit"]) == ("a note\nof two lines", "f" * 40)
        frame = log.metrics(row["run_id"])
        assert frame.columns == ["step", "time", "loss", "step (metric)", "val/acc"]
        assert [repr(v) for v in frame["loss"]] == ["2.5", "nan", "inf"]
        assert frame["val/acc"].to_list() == [None, 0.5, None]
        assert frame["time"].to_list() == [(START + n) / 1000 for n in (1, 2, 3)]
        assert log.artifact(row["run_id"], "plots/x.txt") == b"plot"
    assert store.check(root).ok


@pytest.fixture
def mlflow_db(tmp_path):
    file = tmp_path / "mlflow.db"
    with sqlite3.connect(file) as con:
        con.executescript(
            """
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
            CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER, status TEXT, start_time BIGINT, end_time BIGINT,
                lifecycle_stage TEXT);
            CREATE TABLE metrics (key TEXT, value DOUBLE, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
            INSERT INTO experiments VALUES (1, 'Default');
            """
        )
        con.executemany(
            "INSERT INTO runs VALUES (?, 1, ?, ?, ?, ?)",
            [
                ("r1", "FINISHED", START, START + 1000, "active"),
                ("r2", "KILLED", START, None, "active"),
                ("r3", "FINISHED", START, START, "deleted"),
            ],
        )
        con.executemany(
            "INSERT INTO metrics VALUES ('loss', ?, ?, ?, ?, ?)",
            [
                (1.5, START + 1, "r1", 0, 0),
                (0.0, START + 2, "r1", 1, 1),
                (sys.float_info.max, START + 3, "r1", 2, 0),
                (-sys.float_info.max, START + 4, "r1", 3, 0),
            ],
        )
        con.execute("INSERT INTO params VALUES ('lr', '0.1', 'r1')")
        con.execute("INSERT INTO tags VALUES ('mlflow.source.name', 'train.py', 'r1')")
    con.close()
    return file


def test_mlflow_sqlite(root, mlflow_db):
    before = mlflow_db.read_bytes()
    assert len(store.import_mlflow(mlflow_db, root)) == 2
    assert store.import_mlflow(mlflow_db, root) == []
    assert mlflow_db.read_bytes() == before
    with store.open(root) as log:
        rows = {row["origin"]: row for row in log.runs().iter_rows(named=True)}
        assert {origin: row["status"] for origin, row in rows.items()} == {
            "mlflow:r1": "finished",
            "mlflow:r2": "interrupted",
        }
        assert rows["mlflow:r1"]["command"] == "train.py"
        values = log.metrics(rows["mlflow:r1"]["run_id"])["loss"].to_list()
        assert [repr(v) for v in values] == ["1.5", "nan", "inf", "-inf"]
        assert log.metrics(rows["mlflow:r2"]["run_id"]).is_empty()


def test_sources_that_are_none(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        store.import_mlflow(tmp_path / "absent", root)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="must be an SQLite file of MLflow"):
        store.import_mlflow(tmp_path / "text", root)
    with sqlite3.connect(tmp_path / "other.db") as con:
        con.execute("CREATE TABLE runs (x)")
    con.close()
    with pytest.raises(ValueError, match="not of MLflow: it lacks"):
        store.import_mlflow(tmp_path / "other.db", root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="must be an mlruns folder"):
        store.import_mlflow(tmp_path / "empty", root)
    for folder in ("empty", "absent"):
        with pytest.raises(FileNotFoundError, match="holds no event files"):
            store.import_tensorboard(tmp_path / folder, root)
    assert not root.exists()


def events(folder, wall, points, hyperparameters=None):
    """Write scalars with TensorBoard's own writer: the old kind (simple_value) and the new one (a tensor)."""
    from tensorboard.plugins.hparams import metadata as hparams_metadata
    from tensorboard.plugins.scalar import metadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util import tensor_util

    # generated modules, whose classes no checker sees
    event_pb2: Any = importlib.import_module("tensorboard.compat.proto.event_pb2")
    summary_pb2: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
    plugin_data_pb2: Any = importlib.import_module("tensorboard.plugins.hparams.plugin_data_pb2")
    writer = EventFileWriter(str(folder))
    if hyperparameters:
        data = plugin_data_pb2.HParamsPluginData()
        for name, value in hyperparameters.items():
            kind = {bool: "bool_value", float: "number_value", str: "string_value"}[type(value)]
            setattr(data.session_start_info.hparams[name], kind, value)
        start = summary_pb2.Summary.Value(tag=hparams_metadata.SESSION_START_INFO_TAG)
        start.metadata.CopyFrom(hparams_metadata.create_summary_metadata(data))
        writer.add_event(event_pb2.Event(wall_time=wall, summary=summary_pb2.Summary(value=[start])))
    for name, step, value, new in points:
        one = summary_pb2.Summary.Value(tag=name)
        if new:
            one.metadata.CopyFrom(metadata.create_summary_metadata("", ""))
            one.tensor.CopyFrom(tensor_util.make_tensor_proto(value))
        else:
            one.simple_value = value
        writer.add_event(event_pb2.Event(wall_time=wall + step, step=step, summary=summary_pb2.Summary(value=[one])))
    writer.close()


def test_tensorboard(root, tmp_path):
    logs = tmp_path / "logs"
    wall = START / 1000
    points = [("train/loss", step, 1.0 / (step + 1), False) for step in range(20)]
    events(logs / "one", wall, [*points, ("bad", 3, math.nan, False)], {"lr": 0.5, "model": "gru", "bias": True})
    events(logs / "deep" / "two", wall, [("acc", step, step / 4, True) for step in range(5)])
    added = store.import_tensorboard(logs, root)
    assert len(added) == 2
    assert store.import_tensorboard(logs, root) == []
    with store.open(root) as log:
        rows = {row["study"]: row for row in log.runs().iter_rows(named=True)}
        assert set(rows) == {"one", "deep-two"}
        assert json.loads(rows["one"]["config"]) == {"lr": 0.5, "model": "gru", "bias": True}
        one = log.metrics(rows["one"]["run_id"])
        assert one["step"].to_list() == list(range(20))
        assert one["train/loss"].to_list() == pytest.approx([1 / (step + 1) for step in range(20)], rel=1e-6)
        assert one["time"].to_list() == [wall + step for step in range(20)]
        assert math.isnan(one["bad"][3])
        assert log.metrics(rows["deep-two"]["run_id"])["acc"].to_list() == [0.0, 0.25, 0.5, 0.75, 1.0]
        assert rows["one"]["wall_s"] == 19.0
        assert rows["one"]["tags"] == ["tensorboard"]


def test_tensorboard_that_is_missing_is_named(root, tmp_path, monkeypatch):
    (tmp_path / "x.tfevents.1").touch()
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("tensorboard"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"parallel-workbench\[tensorboard\]"):
        store.import_tensorboard(tmp_path, root)


def test_malformed_metrics_from_outside_are_refused(root):
    bad = SourceRun("x:1", "study", 1.0, 2.0, "finished", [("", 0, 1.0, 0.5)])
    with pytest.raises(ValidationError):
        write_runs(root, [bad])
    assert not (root / "runs").exists()


def test_a_purged_import_can_come_back(root, mlflow_db):
    added = store.import_mlflow(mlflow_db, root)
    for run_id in added:
        store.delete(run_id, path=root)
    assert sorted(store.purge(root)) == sorted(added)
    assert store.import_mlflow(mlflow_db, root) == added
    with store.open(root) as log:
        assert log.runs().height == 2
