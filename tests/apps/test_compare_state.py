"""The state of the comparison: which two runs, their values, their claims, the Python that gives the same."""

import pytest

from apps.compare_state import CompareState
from apps.compare_tables import claims_html, pair_html, values_html
from apps.source import Source
from workbench import store

GONE = "20000101-000000-gone-000000"


@pytest.fixture
def make(tmp_path):
    """A settled state over a store of its own, with what `log` wrote there."""
    sources = []

    def settled(log=lambda path: None, **params):
        log(tmp_path)
        sources.append(Source(tmp_path))
        state = CompareState(sources[-1], **params)
        state.settle()
        return state

    yield settled
    for source in sources:
        source.log.close()


def asked(source, *runs):
    state = CompareState(source, runs=list(runs))
    state.settle()
    return state


def test_it_opens_on_the_newest_two_runs_of_one_study_that_have_metrics(source, filled):
    _, ids = filled
    assert asked(source).runs == [ids["second"], ids["failed"]]  # not the newest of all, which is alone in its study


def test_runs_of_two_studies_are_compared_where_no_study_has_two(make):
    def log(path):
        for study in ("one", "two"):
            with store.run(study, path=path) as run:
                run.log(loss=1.0)

    state = make(log)
    assert [run.split("-")[2] for run in state.runs] == ["one", "two"]


def test_one_run_that_was_asked_for_gets_the_newest_other_one_of_its_study(source, filled):
    _, ids = filled
    assert asked(source, ids["second"]).runs == [ids["second"], ids["failed"]]
    assert asked(source, ids["second"], ids["second"]).runs == [ids["second"], ids["failed"]]
    assert asked(source, ids["long"]).runs == [ids["long"], ids["failed"]]
    assert asked(source, ids["claims"][-8:], ids["rnn"]).runs == [ids["claims"], ids["rnn"]]


def test_an_unknown_run_is_named_and_nothing_is_drawn(source, filled):
    _, ids = filled
    state = asked(source, GONE, ids["second"])
    assert state.runs == [GONE, ids["second"]]
    assert state.pair() is None
    assert state.unknown().startswith(f"'{GONE}' names no run")
    assert ids["second"] not in state.unknown().split(";")[0]
    assert state.options()[f"{GONE} (not here)"] == GONE
    assert state.drawn() == state.metric_names() == state.differences() == []
    assert state.values().is_empty()
    assert state.claims().is_empty()
    for python in (state.python(), state.values_python(), state.claims_python()):
        exec(python.replace("print(", "told = ("), {})


def test_choosing_the_run_of_the_other_place_changes_places(source, filled):
    _, ids = filled
    state = asked(source, ids["claims"], ids["second"])
    state.choose(0, ids["failed"])
    assert state.runs == [ids["failed"], ids["second"]]
    state.choose(0, ids["second"])
    assert state.runs == [ids["second"], ids["failed"]]
    state.swap()
    assert state.runs == [ids["failed"], ids["second"]]


def test_the_metrics_are_those_of_both_and_the_table_has_all(source, filled):
    _, ids = filled
    state = asked(source, ids["second"], ids["failed"])
    assert state.metric_names() == state.drawn_metrics() == ["loss"]
    assert state.values()["metric"].to_list() == ["loss", "accuracy"]  # that of both comes first
    last = dict(source.summary([ids["second"]]).select("name", "last").iter_rows())
    row = state.values().row(0, named=True)
    assert (row["first"], row["second"]) == (last["loss"], 1.0)
    assert row["ratio"] == pytest.approx(1.0 / last["loss"])
    assert values_html(state.values()).count("–") == 2
    state = asked(source, ids["second"], ids["long"])
    assert state.drawn_metrics() == []
    assert state.values()["ratio"].null_count() == 3


def test_what_differs_leaves_the_values_to_their_table(source, filled):
    _, ids = filled
    found = {(one.group, one.name) for one in asked(source, ids["claims"], ids["second"]).differences()}
    assert {("config", "rate"), ("config", "lanes")} <= found
    assert not [group for group, _ in found if group.startswith("metrics")]


def test_claims_that_both_tested_are_held_against_each_other(make):
    def log(path):
        for at, verdict in enumerate(("supported", "contradicted")):
            with store.run("toy", path=path, note="<script>") as run:
                run.claims({"paper_id": "toy"}, [{"claim_id": "toy.x", "statement": "<b>fast</b>", "unit": "s"}])
                run.result({"claim_id": "toy.same", "measured": 1.0, "verdict": "supported"})
                run.result({"claim_id": "toy.x", "measured": 2.0 + at, "verdict": verdict})

    state = make(log)
    assert state.claims()["claim_id"].to_list() == ["toy.same", "toy.x"]
    told = claims_html(state.claims())
    assert "2 claims, of which 1 came out with another verdict" in told
    assert told.index("toy.x") < told.index("toy.same")
    assert "<b>fast" not in told
    assert "<script>" not in pair_html(state.source.runs(), state.pair())


def test_a_store_with_one_run_says_what_to_run(make):
    def log(path):
        with store.run("pararnn", path=path) as run:
            run.log(loss=1.0)

    state = make(log)
    assert len(state.runs) == 1
    assert state.pair() is None
    assert state.unknown() == ""
    assert state.command() == "workbench reproduce pararnn"


def test_an_empty_store_has_nothing_to_compare(make):
    state = make()
    assert state.runs == []
    assert state.pair() is None
    assert state.options() == {}
    assert state.command() == "workbench reproduce"


def test_runs_that_look_alike_are_told_apart(make):
    def log(path):
        for _ in range(3):
            store.run("toy", path=path).finish()

    assert len(make(log).options()) == 3


def test_the_copied_python_gives_the_numbers_of_the_page(source, filled):
    _, ids = filled
    state = asked(source, ids["claims"], ids["second"])
    found = {}
    exec(state.values_python().replace("print(", "frame = ("), found)
    assert found["frame"].sort("metric").equals(state.values().sort("metric"))
    exec(state.python().replace("print(", "curves = ("), found)
    assert found["curves"].columns[2:] == state.drawn_metrics() == ["loss", "accuracy"]
    exec(state.claims_python().replace("print(", "claims = ("), found)
    assert found["claims"].equals(state.claims())
