"""The state of the Claims page: filters, counts, the matrix, the Python that gives the same rows."""

import polars as pl
import pytest

from apps.claims_state import ClaimsState, claim_python, matrix


@pytest.fixture
def state(source):
    return ClaimsState(source, papers=["lanes", "amdahl"])


def test_filters_narrow_and_reset_lets_everything_through(state):
    assert set(state.rows()["paper"]) == {"lanes", "amdahl"}
    state.param.update(papers=["lanes"], verdicts=["contradicted", "not reproduced"])
    assert state.rows()["claim"].to_list() == ["memory", "energy"]
    state.evidence = ["simulated"]
    assert state.rows().height == 0
    state.reset()
    assert state.rows().height == state.all_rows().height


def test_search_takes_every_word_in_any_column_and_is_not_a_pattern(state):
    state.text = "LANES finish"
    assert state.rows()["claim"].to_list() == ["speed-up"]
    state.text = "7.4 (["
    assert state.rows().height == 0


def test_tested_claims_come_first_and_those_that_cannot_be_tested_last(state):
    verdicts = state.rows()["verdict"].to_list()
    order = [{"untested": 1, "not testable": 2}.get(verdict, 0) for verdict in verdicts]
    assert order == sorted(order)
    assert set(order) == {0, 1, 2}


def test_the_counts_of_a_filter_leave_that_filter_out(state):
    state.verdicts = ["contradicted"]
    assert state.counts("verdict", without="verdicts")["reproduced"] == 4
    assert state.counts("verdict", without="") == {"contradicted": 1}


def test_the_matrix_counts_every_claim_once(state):
    verdicts, table = matrix(state.rows())
    assert list(table) == ["amdahl", "lanes"]
    assert table["lanes"]["reproduced"] == 4
    assert table["amdahl"] == {"untested": 1, "not testable": 1}
    assert sum(n for counts in table.values() for n in counts.values()) == state.rows().height
    assert verdicts.index("reproduced") < verdicts.index("contradicted")


def test_a_claim_that_is_not_there_is_none(state):
    state.claim = "lanes.speed-up"
    assert state.chosen()["published_text"] == "7.4x"
    state.claim = "lanes.nothing"
    assert state.chosen() is None


def test_the_copied_python_gives_the_rows_that_are_shown(state):
    state.param.update(verdicts=["reproduced", "supported"], text="lanes")
    found = {}
    exec(state.python().replace("print(rows)", ""), found)
    assert sorted(found["rows"]["claim_id"]) == sorted(state.rows()["claim_id"])
    assert found["rows"].height > 1


def test_the_python_of_a_claim_names_its_paper_preset_and_store(state):
    row = state.rows().filter(pl.col("claim") == "long").row(0, named=True)
    text = claim_python(row, state.source)
    assert 'reproduce(["lanes"], preset="full", path="' in text
    compile(text, "claim", "exec")
