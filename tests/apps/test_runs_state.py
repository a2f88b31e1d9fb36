"""The state of the Runs page: filters, the drawn runs and metrics, curves by step and time, smoothing."""

import time

import numpy as np
import polars as pl
import pytest

from apps import runs_state
from apps.curves import Curves
from apps.curves_state import main_metrics, smooth
from apps.runs_state import RunsState
from apps.runs_tables import difference_html, list_frame, numbers_html
from apps.source import Source
from workbench import store


@pytest.fixture
def state(source):
    return RunsState(source)


def test_filters_by_study_status_tag_and_text(state, filled):
    _, ids = filled
    assert state.rows().height == 5
    state.studies = ["lanes"]
    assert state.rows().height == 3
    state.tags = ["sweep"]
    assert set(state.rows()["run_id"]) == {ids["second"], ids["failed"]}
    state.statuses = ["failed"]
    assert state.rows()["run_id"].to_list() == [ids["failed"]]
    state.reset()
    state.text = "three times"
    assert state.rows()["run_id"].to_list() == [ids["second"]]
    assert state.options("tags") == ["quick", "sweep"]


def test_only_runs_that_exist_are_drawn_and_not_too_many(state, filled, monkeypatch):
    _, ids = filled
    state.selected = ["20000101-000000-gone-000000", ids["second"]]
    assert state.drawn() == [ids["second"]]
    assert state.metric_names() == ["accuracy", "loss"]
    state.metrics = ["loss", "nothing"]
    assert state.drawn_metrics() == ["loss"]
    monkeypatch.setattr(runs_state, "MOST_CURVES", 2)
    state.selected = list(ids.values())
    assert state.drawn() == list(ids.values())[:2]


def test_a_run_opens_on_its_main_metrics(state, filled):
    _, ids = filled
    state.selected = [ids["second"]]
    assert state.drawn_metrics() == ["loss", "accuracy"]
    state.selected = [ids["rnn"]]
    assert state.drawn_metrics()[0] == "residual/paragru/256"
    summary = state.source.summary([ids["rnn"]]).with_columns(name=pl.col("name").str.replace("residual", "loss-scale"))
    assert main_metrics(summary)[0].startswith("loss-scale-jacobi/")  # no loss; the longest curves


def test_a_page_opens_on_the_newest_run_that_has_metrics(state, filled):
    _, ids = filled
    state.select_newest()
    assert state.selected == [ids["long"]]
    state.selected = [ids["second"]]
    state.select_newest()
    assert state.selected == [ids["second"]]


def test_a_long_curve_is_thinned_and_keeps_its_extremes(state, filled):
    path, ids = filled
    curve = state.curve(ids["long"], "signal")
    with store.open(path) as log:
        whole = log.metrics(ids["long"])["signal"]
    assert whole.len() == 20_000
    assert 500 < curve["x"].size < 2_500
    assert curve["raw"].min() == whole.min()
    assert curve["raw"].max() == whole.max()


def test_by_time_the_axis_is_seconds_since_the_first_row(state, filled):
    path, _ = filled
    with store.run("timed", path=path) as run:
        for step in range(3):
            run.log(step=step, loss=1.0 / (step + 1))
            time.sleep(0.02)
    try:
        state.source.log.refresh()
        state.x = "time"
        curve = state.curve(run.id, "loss")
        assert curve["x"][0] == 0
        assert 0.03 < curve["x"][-1] < 5
        assert curve["raw"].tolist() == [1.0, 0.5, 1 / 3]
    finally:
        store.delete(run.id, path=path)


def test_smoothing_keeps_a_constant_follows_a_line_and_leaves_gaps():
    assert np.allclose(smooth(np.full(50, 3.0), 0.9), 3.0)
    values = np.array([0.0, 1.0, np.nan, 3.0])
    assert smooth(values, 0.0) is values
    out = smooth(values, 0.5)
    assert out[0] == 0.0
    assert out[1] == pytest.approx(2 / 3)  # (0.25 · 0 + 0.5 · 1) / 0.75
    assert np.isnan(out[2])
    assert np.isfinite(out[3])


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning:bokeh")
def test_the_axis_of_a_constant_is_as_wide_as_three_digits_can_tell(tmp_path):
    with store.run("toy", path=tmp_path) as run:
        run.log(constant=1.975e8, zero=0.0, nothing=np.nan)
    state = RunsState(Source(tmp_path))
    state.selected, state.metrics = [run.id], ["constant", "zero", "nothing"]
    spans = [figure.y_range.default_span for figure in Curves(state).figures]
    assert spans == pytest.approx([3.95e7, 2.0, 2.0])
    state.log_y = True
    assert [figure.y_range.default_span for figure in Curves(state).figures] == [2.0, 2.0, 2.0]


def test_the_tables_show_icons_only_differences_and_escape_what_users_write(state, filled):
    _, ids = filled
    listed = list_frame(state.rows())
    assert listed["status"].tolist().count("✗ failed") == 1
    found = state.source.differences(ids["claims"], ids["second"])
    text = difference_html(found, ids["claims"], ids["second"])
    assert ">rate<" in text
    assert ">preset<" not in text
    numbers = numbers_html(state.source.summary([ids["claims"], ids["long"]]), [ids["claims"], ids["long"]])
    assert numbers.count("–") == 3  # loss and accuracy of one run, signal of the other
    assert "<script" not in difference_html([type(found[0])("config", "x", "<script>", None)], "a", "b")


def test_the_copied_python_reads_the_drawn_curves(state, filled, capsys):
    _, ids = filled
    state.param.update(selected=[ids["second"]], metrics=["loss"])
    exec(state.python(), {})
    assert "loss" in capsys.readouterr().out
