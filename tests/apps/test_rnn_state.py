"""The state of the page on parallel recurrences: the chain of factors, the curves, the λ sweep, the benchmark."""

import itertools
import json
import math

import numpy as np
import pytest
from example_store import WAYS, recurrences

from apps import rnn_data
from apps.rnn_data import Chain, solver_name
from apps.rnn_state import RnnState
from apps.rnn_tables import residual_html, shown_iterations, sweep_html
from apps.source import Source
from workbench import store


@pytest.fixture
def state(source):
    return RnnState(source)


@pytest.fixture
def fresh(tmp_path):
    """A state over a store of its own, with what `log` wrote there."""
    sources = []

    def make(log, **params):
        log(tmp_path)
        sources.append(Source(tmp_path))
        return RnnState(sources[-1], **params)

    yield make
    for source in sources:
        source.log.close()


def test_the_factors_of_a_chain_multiply_to_the_whole(state):
    chains, run_id, _ = state.timed()
    assert [chain.cell for chain in chains] == ["paragru", "paralstm"]
    assert run_id
    for chain in chains:
        links = chain.links()
        assert [link.kind for link in links] == ["dispatch of slices", "dispatch of steps", "fusion", "algorithm"]
        assert math.prod(link.factor for link in links) == pytest.approx(chain.ratio("loop", "newton"))
        assert links[-1].end == pytest.approx(chain.ratio("loop", "newton"))
        assert links[-1].factor == pytest.approx(chain.ratio("scan", "newton"))
        assert links[-1].factor < 1  # the loss is told like a gain
        for link, after in itertools.pairwise(links):
            assert link.end == after.start
        for link in links:
            assert link.lo <= link.factor <= link.hi
    assert chains[0].size == "512 steps, 16 channels"
    assert state.table().height == 8


def test_without_the_unfused_loop_the_chain_has_no_fusion(fresh):
    state = fresh(lambda path: recurrences(path, [way for way in WAYS if way != "scan-unfused"], sweep=False))
    kinds = [link.kind for link in state.timed()[0][0].links()]
    assert kinds == ["dispatch of slices", "dispatch of steps", "algorithm"]


def test_a_store_without_the_study_gives_nothing(fresh):
    state = fresh(lambda path: store.run("other", path=path).finish())
    assert state.timed() == ([], "", {})
    assert state.table().is_empty()
    assert state.curves() == state.drawn() == []
    assert state.sweep()[0].is_empty()
    compile(state.python(), "copied", "exec")


def test_each_part_takes_the_newest_run_that_has_it_and_a_chosen_run_alone(fresh):
    ids = []

    def log(path):
        ids.append(recurrences(path))
        with store.run("pararnn", path=path) as run:  # as a run that has only begun
            run.log(step=0, **{"residual/paragru/256": 1.0})
        ids.append(run.id)

    state = fresh(log)
    assert state.timed()[1] == state.sweep()[1] == ids[0]
    assert state.curve_run() == ids[1]
    state.run = ids[1]
    assert state.timed()[0] == []
    assert len(state.curves()) == 1
    state.run = "20000101-000000-gone-000000"
    assert state.timed()[1] == ids[0]


def test_the_curves_are_named_and_filtered(state):
    assert {curve.solver for curve in state.curves()} == {"Newton, float32", "Jacobi, float32"}
    assert {curve.solver for curve in state.drawn()} == {"Newton, float32"}
    state.param.update(cells=["paralstm"], lengths=[512, 2048], solvers=[])
    assert [(c.solver, c.length) for c in state.drawn()] == [
        ("Jacobi, float32", 512), ("Jacobi, float32", 2048), ("Newton, float32", 512), ("Newton, float32", 2048),
    ]  # fmt: skip
    assert state.history(state.drawn()[-1])["value"][0] > 1
    state.reset()
    assert state.solvers == ["Newton, float32"]
    assert state.cells == []


@pytest.mark.parametrize(
    ("variant", "said"),
    [("", "Newton, float32"), ("-float64-jacobi", "Jacobi, float64"), ("-quasi-newton", "Quasi-newton, float32")],
)
def test_a_solver_is_named_after_its_metric(variant, said):
    assert solver_name(variant) == said


def test_the_sweep_keeps_what_did_not_converge(state):
    frame, _ = state.sweep()
    assert rnn_data.solvers(frame) == ["newton", "quasi-newton", "jacobi"]
    assert frame["lyapunov"].is_sorted()
    chaotic = frame.filter(frame["lyapunov"] > 0)
    assert chaotic.height
    assert not np.isfinite(chaotic["newton"].to_numpy()).any()


def test_the_benchmark_is_read_with_its_machine_and_date(tmp_path, source):
    seconds = {"loop": 0.1, "scan": 1e-4, "newton": 5e-4}
    record = {
        "measured": "2026-01-02T03:04:05+00:00",
        "machine": {"cpu": "EPYC", "cores": 2},
        "decomposition": [
            {"cell": "ParaLSTM", "T": 512, "D": 16, "way": way, "seconds": s, "ratio_to_previous": None}
            for way, s in seconds.items()
        ],
    }
    file = tmp_path / "rnn.json"
    file.write_text(json.dumps(record))
    state = RnnState(source, file, origin="benchmark")
    (chain,), run_id, told = state.timed()
    assert (chain.cell, run_id, told["machine"]["cores"]) == ("paralstm", "", 2)
    assert [link.factor for link in chain.links()] == pytest.approx([1000, 0.2])
    assert RnnState(source, None, origin="benchmark").timed() == ([], "", {})


def test_the_committed_benchmark_is_drawn():
    chains, told = rnn_data.benchmark(rnn_data.benchmark_file())
    assert {chain.cell for chain in chains} == {"paragru", "paralstm"}
    assert all(tuple(chain.seconds) == tuple(rnn_data.WAYS) for chain in chains)
    assert told["measured"] > "2026"


def test_the_published_figures_come_from_the_catalogue(source):
    assert rnn_data.published(source) == {"paragru": 447, "paralstm": 665}


def test_a_way_that_nobody_knows_keeps_its_name():
    (link,) = Chain("x", "", {"loop": np.array([2.0]), "odd": np.array([1.0])}).links()
    assert (link.name, link.factor) == ("odd", 2.0)


def copied(python):
    found = {}
    exec(python.replace("print(", "frame = ("), found)
    return found["frame"]


def test_the_copied_python_gives_the_numbers_of_each_figure(state):
    seconds, residuals, sweep = map(copied, (state.python(), state.residual_python(), state.sweep_python()))
    assert {"seconds/newton/paragru", "seconds/loop/paralstm"} < set(seconds.columns)
    drawn = {curve.metric for curve in state.drawn()}
    assert set(residuals.columns) == {"step", "time", *drawn}
    assert "residual-jacobi/paralstm/2048" not in drawn
    row = state.residual_table().filter(cell="paragru", steps=512).row(-1, named=True)
    assert residuals.filter(step=row["iteration"])["residual/paragru/512"].item() == row["residual"]
    assert sorted(sweep["sweep/lyapunov"]) == state.sweep_table()["lyapunov"].to_list()


def test_the_tables_hold_what_is_drawn(state):
    table = state.residual_table()
    assert table.height == 7 * len(state.drawn())
    assert residual_html(table).count("<tr>") == 1 + len(state.drawn())
    state.solvers = ["nobody"]
    assert state.residual_table().is_empty()
    points = state.sweep_table()
    assert sweep_html(points).count("<tr>") == 1 + points.height
    assert '<td class="n">–</td>' in sweep_html(points)  # chaos


def test_of_many_iterations_some_are_shown():
    assert shown_iterations(6) == [0, 1, 2, 3, 4, 5, 6]
    assert shown_iterations(79) == [0, 1, 2, 5, 10, 20, 50, 79]
    assert shown_iterations(0) == [0]
