"""What is logged is what is read, while the run lives, after it ended, and after it was synced."""

import dataclasses
import json
import math
import threading
from fractions import Fraction
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench import store

STAGES = ("live", "ended", "synced")


@pytest.fixture(params=STAGES)
def read(request, root):
    """Bring a run to one of the three stages and open the store."""

    def make(run):
        if request.param != "live":
            run.finish()
        if request.param == "synced":
            assert store.sync(root).runs_added == 1
        log = store.open(root)
        request.addfinalizer(log.close)
        assert (run.id in log.live) == (request.param != "synced")
        return log

    return make


def test_metrics_come_back(root, read):
    run = store.run("my-idea", config={"learning_rate": 1e-3}, path=root)
    for step in range(3):
        run.log(step=step, loss=1.0 / (step + 1))
    frame = read(run).metrics(run.id)
    assert frame.columns == ["step", "time", "loss"]
    assert frame["step"].to_list() == [0, 1, 2]
    assert frame["loss"].to_list() == [1.0, 0.5, 1 / 3]


def test_values_that_are_not_finite_survive(root, read):
    values = [math.nan, math.inf, -math.inf, 1e308, 5e-324, -0.0, 0.1 + 0.2]
    run = store.run("toy", path=root)
    for value in values:
        run.log(x=value, y=np.float32(value) if abs(value) < 1e30 else value)
    run.log_many(x=values)
    found = read(run).metrics(run.id)["x"].to_list()
    assert [repr(v) for v in found] == [repr(v) for v in values * 2]


def test_scalars_of_every_library_are_taken(root, read):
    scalars = [1, True, np.float32(0.5), np.int8(-3), np.array(2.0), jnp.float32(0.25), jnp.array(7), Fraction(1, 4)]
    scalars += [jnp.bfloat16(1.5), np.bool_(True)]
    run = store.run("toy", path=root)
    for scalar in scalars:
        run.log(x=scalar)
    assert read(run).metrics(run.id)["x"].to_list() == [float(scalar) for scalar in scalars]


def test_steps_count_on_and_metrics_of_one_step_share_a_row(root, read):
    run = store.run("toy", path=root)
    run.log(a=1.0)
    run.log(step=np.int64(5), a=2.0)
    run.log(step=5, b=3.0)
    run.log(b=4.0)
    frame = read(run).metrics(run.id)
    assert frame.drop("time").to_dict(as_series=False) == {
        "step": [0, 5, 6],
        "a": [1.0, 2.0, None],
        "b": [None, 3.0, 4.0],
    }


def test_of_two_values_at_one_step_the_last_stands(root, read):
    run = store.run("toy", path=root)
    run.log_many(step=[1, 1, 0, 1], a=[1.0, 2.0, 3.0, 4.0])
    log = read(run)
    assert log.metrics(run.id)["a"].to_list() == [3.0, 4.0]
    assert log.curve(run.id, "a")["value"].to_list() == [3.0, 4.0]
    assert log.summary(run.id).row(0, named=True) | {"run_id": ""} == {
        "run_id": "",
        "name": "a",
        "n": 4,
        "last_step": 1,
        "last": 4.0,
        "lo": 1.0,
        "hi": 4.0,
    }


def test_log_many_takes_arrays_of_every_library(root, read):
    run = store.run("toy", path=root)
    run.log_many(step=np.arange(3), a=np.array([1, 2, 3]), b=jnp.array([0.5, jnp.nan, 2.5]), **{"100%": [1.0, 2, 3]})
    run.log_many(a=(4.0,))
    frame = read(run).metrics(run.id)
    assert frame["a"].to_list() == [1.0, 2.0, 3.0, 4.0]
    assert [repr(v) for v in frame["b"]] == ["0.5", "nan", "2.5", "None"]
    assert frame["100%"].to_list() == [1.0, 2.0, 3.0, None]
    assert frame["step"].to_list() == [0, 1, 2, 3]


def test_log_many_writes_more_than_one_block(root):
    with store.run("toy", path=root) as run:
        run.log_many(a=np.arange(25_001) / 3)
    with store.open(root) as log:
        assert log.metrics(run.id)["a"].to_list() == (np.arange(25_001) / 3).tolist()


def test_only_the_asked_names_come_in_that_order(root, read):
    run = store.run("toy", path=root)
    run.log(a=1.0, b=2.0, c=3.0)
    log = read(run)
    assert log.metrics(run.id, ["c", "a"]).columns == ["step", "time", "c", "a"]
    with pytest.raises(KeyError, match=r"'d' is no metric of run .* \['a', 'b', 'c'\]"):
        log.metrics(run.id, ["d"])


def test_a_run_without_metrics_is_a_run(root, read):
    run = store.run("toy", path=root)
    run.log()
    log = read(run)
    assert log.metrics(run.id).shape == (0, 2)
    assert log.runs()["n_rows"].to_list() == [0]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0.5", "str"),
        (None, "NoneType"),
        ([1.0], "list"),
        (np.ones(1), r"shape \(1,\)"),
        (jnp.ones((2, 2)), r"shape \(2, 2\)"),
        (1j, "complex"),
        (10**400, "too large"),
    ],
)
def test_what_is_no_number_is_refused_by_name(root, value, told):
    with store.run("toy", path=root) as run:
        with pytest.raises(ValueError, match=f"metric 'loss': .*{told}"):
            run.log(loss=value)
        with pytest.raises(ValueError, match="metric 'loss'"):
            run.log_many(loss=[1.0, value])
    assert run.path.joinpath("metrics.jsonl").read_bytes() == b""


def test_a_traced_value_is_refused_by_name(root):
    with store.run("toy", path=root) as run, pytest.raises(ValueError, match=r"metric 'loss': .*one real number"):
        jax.jit(lambda x: run.log(loss=x))(1.0)


@pytest.mark.parametrize("name", ["time", "", "a\x00b", "\ud800", "x" * 501])
def test_names_that_cannot_be_read_back_are_refused(root, name):
    with store.run("toy", path=root) as run, pytest.raises(ValueError, match="metric name"):
        run.log_many(**{name: [1.0]})


@pytest.mark.parametrize("step", [1.0, "1", 2**63, True, np.float64(3)])
def test_steps_are_whole_numbers(root, step):
    with store.run("toy", path=root) as run, pytest.raises(ValueError, match=r"step: .* whole number"):
        run.log(step=step, a=1.0)


def test_columns_have_one_length(root):
    with store.run("toy", path=root) as run:
        with pytest.raises(ValueError, match="metric 'b': has 3 values, but there are 2 steps"):
            run.log_many(step=[0, 1], b=[1.0, 2.0, 3.0])
        with pytest.raises(ValueError, match="metric 'b'"):
            run.log_many(b=np.ones((2, 2)))


def test_threads_lose_no_row_and_share_no_step(root):
    with store.run("toy", path=root) as run:
        threads = [threading.Thread(target=lambda: [run.log(x=i) for i in range(500)], name=str(n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with store.open(root) as log:
        frame = log.metrics(run.id)
    assert frame["step"].to_list() == list(range(4000))
    assert frame["x"].sum() == 8 * sum(range(500))


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 1e-3
    sizes: tuple[int, ...] = (1, 2)
    where: Path = Path("here")
    inner: dict = dataclasses.field(default_factory=lambda: {"x": np.float32(2), "nan": math.nan, 3: {"b", "a"}})


def test_a_config_is_a_mapping_or_a_dataclass(root, read):
    run = store.run("toy", Config(), seed=np.int32(7), path=root)
    row = read(run).runs().row(0, named=True)
    config = json.loads(row["config"])
    assert math.isnan(config["inner"].pop("nan"))
    assert config == {"rate": 1e-3, "sizes": [1, 2], "where": "here", "inner": {"x": 2.0, "3": ["a", "b"]}}
    assert row["seed"] == 7


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"study": "../up"}, "study: '../up'"),
        ({"study": ""}, "study: ''"),
        ({"study": "ok", "config": [1]}, "config: list must be a mapping"),
        ({"study": "ok", "seed": 1.5}, "whole number"),
        ({"study": "ok", "tags": [""]}, "tags: ''"),
    ],
)
def test_a_bad_argument_leaves_nothing_behind(root, arguments, told):
    with pytest.raises(ValueError, match=told):
        store.run(**arguments, path=root)
    assert not root.exists()


def test_artifacts(root, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"\x00\x01")
    with store.run("toy", path=root) as run:
        run.artifact("plots/a.txt", "text ü")
        run.artifact("b.bin", b"\x02")
        run.artifact("c.bin", tmp_path / "file.bin")
        for name in ("../escape", "/etc/escape", ""):
            with pytest.raises(ValueError, match="relative path"):
                run.artifact(name, b"")
        with pytest.raises(TypeError, match="data: int"):
            run.artifact("d", cast("str", 3))
        with pytest.raises(FileNotFoundError):
            run.artifact("e", tmp_path / "absent")
    with store.open(root) as log:
        kept = {p.relative_to(run.path / "artifacts").as_posix() for p in log.artifacts(run.id)}
        assert kept - {"uncommitted.diff"} == {"plots/a.txt", "b.bin", "c.bin"}
        assert log.artifact(run.id, "c.bin") == b"\x00\x01"
        assert log.artifact(run.id, "plots/a.txt") == "text ü".encode()
        assert log.artifact(run.id, "absent") is None


def test_side_files(root):
    with store.run("toy", path=root) as run:
        run.describe("hlo-counts", {"flops": 12})
        for name in ("run", "claims", "../x"):
            with pytest.raises(ValueError, match=r"name|study"):
                run.describe(name, {})
    assert json.loads((run.path / "hlo-counts.json").read_text()) == {"flops": 12}
