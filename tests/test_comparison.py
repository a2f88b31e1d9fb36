"""Two runs side by side: last values with their ratio, the claims that both tested, and what differs."""

import math

import pytest

from workbench import store
from workbench.comparison import differences, last_values, same_claims


@pytest.fixture
def pair(tmp_path):
    """The store, and two runs of it that share a metric and a claim."""
    ids = []
    for at, rate in enumerate((0.5, 0.25)):
        with store.run("toy", {"rate": rate, "same": 1}, path=tmp_path) as run:
            run.claims({"paper_id": "toy"}, [{"claim_id": "toy.speed", "statement": "It is fast.", "unit": "s"}])
            run.log_many(loss=[9.0, 4.0 / (at + 1)], zero=[1.0, float(at)])
            run.log(**{f"only-{at}": 1.0})
            run.result({"claim_id": "toy.speed", "measured": 9.0, "verdict": "contradicted"})
            run.result({"claim_id": "toy.speed", "measured": 3.0 + at, "measured_lo": 2.5, "verdict": "supported"})
            run.result({"claim_id": f"toy.only-{at}", "modelled": 1.0})
        ids.append(run.id)
    with store.open(tmp_path) as log:
        yield log, *ids


def test_last_values_stand_beside_each_other_with_their_ratio(pair):
    rows = {row["metric"]: row for row in last_values(*pair).to_dicts()}
    assert list(rows) == ["loss", "only-0", "only-1", "zero"]
    assert (rows["loss"]["first"], rows["loss"]["second"], rows["loss"]["ratio"]) == (4.0, 2.0, 0.5)
    assert (rows["only-0"]["second"], rows["only-0"]["ratio"]) == (None, None)
    assert (rows["zero"]["first"], rows["zero"]["second"], rows["zero"]["ratio"]) == (0.0, 1.0, None)


def test_of_the_claims_that_both_tested_the_last_word_of_each_counts(pair):
    (row,) = same_claims(*pair).to_dicts()
    assert (row["claim_id"], row["statement"], row["unit"]) == ("toy.speed", "It is fast.", "s")
    assert (row["first"], row["first_lo"], row["second"]) == (3.0, 2.5, 4.0)
    assert row["first_verdict"] == row["second_verdict"] == "supported"


def test_a_model_speaks_where_nothing_was_measured(tmp_path):
    told = {"claim_id": "toy.x", "modelled": 2.0, "modelled_lo": 1.0, "modelled_hi": 3.0}
    ids = []
    for _ in range(2):
        with store.run("toy", path=tmp_path) as run:
            run.result(told)
        ids.append(run.id)
    with store.open(tmp_path) as log:
        (row,) = same_claims(log, *ids).to_dicts()
    assert (row["first"], row["second_lo"], row["second_hi"]) == (2.0, 1.0, 3.0)
    assert row["statement"] is None


def test_what_is_equal_is_left_out(pair):
    found = {(d.group, d.name): (d.first, d.second) for d in differences(*pair)}
    assert found["config", "rate"] == (0.5, 0.25)
    assert ("config", "same") not in found
    assert found["metrics (last value)", "loss"] == (4.0, 2.0)


@pytest.mark.parametrize("question", [last_values, same_claims, differences])
def test_an_unknown_run_is_named(pair, question):
    with pytest.raises(store.UnknownRun, match="20000101"):
        question(pair[0], pair[1], "20000101-000000-gone-000000")


def test_a_value_that_is_not_finite_stays(tmp_path):
    ids = []
    for value in (1.0, math.nan):
        with store.run("toy", path=tmp_path) as run:
            run.log(loss=value)
        ids.append(run.id)
    with store.open(tmp_path) as log:
        (row,) = last_values(log, *ids).to_dicts()
    assert math.isnan(row["second"])
    assert math.isnan(row["ratio"])
