"""The verdict table: every kind of check, in every place a result can fall."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.study import KINDS, Check, Claim, Outcome, Tolerance, verdict
from workbench.study._checks import Published, mean_interval

SCALE = {"T": 512}


def claim(kind="magnitude", published=10.0, *, same=True, evidence="measured", seeds=(), tolerance=None, **options):
    published = Published() if published is None else published
    return Claim(
        key="key",
        paper="paper",
        statement="a statement",
        source="table 1",
        published_text=str(published),
        check=Check(kind, **options),
        published=published if isinstance(published, Published) else Published(value=published),
        tolerance=tolerance or Tolerance(rel=0.1, reason="for the test"),
        evidence=evidence,
        scale_published=SCALE,
        scale_here=SCALE if same else {"T": 64},
        seeds=seeds,
    )


@pytest.mark.parametrize(
    ("evidence", "same", "value", "expected"),
    [
        ("measured", True, 10.5, "reproduced"),
        ("measured", False, 10.5, "supported"),
        ("modelled", True, 10.5, "modelled"),
        ("simulated", False, 10.5, "modelled"),
        ("measured", True, 12.0, "contradicted"),
        ("measured", False, 12.0, "not reproduced"),
        ("modelled", True, 12.0, "not reproduced"),
        ("simulated", True, 8.0, "not reproduced"),
        ("measured", True, [9.0, 10.0, 12.5, 9.5, 10.2], "inconclusive"),
        ("measured", True, math.nan, "contradicted"),
        ("measured", False, math.inf, "not reproduced"),
    ],
)
def test_evidence_scale_and_place_decide(evidence, same, value, expected):
    field = "modelled" if evidence == "modelled" else "value"
    outcome = Outcome(**{field: value}, control=50.0)
    assert verdict(claim(evidence=evidence, same=same), outcome).verdict == expected


# One row a kind: options, published, what holds, what fails.
GOOD, BAD = [3.0, 3.1, 3.2], [1.0, 1.1, 1.2]
X = [1.0, 2.0, 4.0, 8.0]
KIND_TABLE = {
    "exact": ({}, 7.0, 7, 8),
    "numerical": ({"tolerance": Tolerance(abs=1e-6, reason="r")}, None, [1e-9, -1e-8], [1e-3]),
    "scaling": ({"tolerance": Tolerance(abs=0.1, reason="r")}, 2.0, {"x": X, "y": [1, 4, 16, 64.1]}, {"x": X, "y": X}),
    "ordering": ({"order": ("a", "b")}, None, {"a": GOOD, "b": BAD}, {"a": BAD, "b": GOOD}),
    "non_inferiority": (
        {"order": ("a", "b"), "better": "lower", "tolerance": Tolerance(abs=0.5, reason="r")},
        None,
        {"a": [1.2, 1.3, 1.4], "b": BAD},
        {"a": GOOD, "b": BAD},
    ),
    "magnitude": ({"tolerance": Tolerance(factor=2, reason="r")}, 10.0, 19.0, 4.9),
    "bound": ({"side": "at_most"}, 10.0, -1e9, 12.0),
    "range": ({}, Published(lo=3, hi=4), 4, 5),
    "crossover": (
        {"tolerance": Tolerance(factor=2, reason="the grid doubles")},
        3.0,
        {"x": X, "a": [0, 1, 3, 7], "b": [2, 2, 2, 2]},
        {"x": X, "a": X, "b": [9, 9, 9, 9]},
    ),
    "distribution": ({}, None, {"sample": X, "reference": X}, {"sample": range(50), "reference": range(50, 100)}),
    "model_error": ({}, 0.1, {"predicted": [1.05], "observed": [1.0]}, {"predicted": [2.0], "observed": [1.0]}),
}


def test_the_table_covers_every_kind():
    assert set(KIND_TABLE) == set(KINDS)


@pytest.mark.parametrize("kind", KIND_TABLE)
def test_each_kind_holds_fails_and_needs_its_control(kind):
    options, published, good, bad = KIND_TABLE[kind]
    options = {"published": published, **options}
    row = claim(kind, **options)
    holds = verdict(row, Outcome(good, control=bad))
    assert (holds.verdict, holds.within, holds.negative_control_failed) == ("reproduced", True, True), holds.reason
    fails = verdict(row, Outcome(bad, control=bad))
    assert (fails.verdict, fails.within) == ("contradicted", False), fails.reason
    assert verdict(row, Outcome(good)).verdict == "inconclusive"
    assert verdict(row, Outcome(good, control=good)).verdict == "inconclusive"


def test_an_identity_is_reproduced_at_any_scale_and_contradicted_when_it_fails():
    row = claim("exact", 7.0, same=False)
    assert verdict(row, Outcome(7, control=8)).verdict == "reproduced"
    assert verdict(row, Outcome(7.0000001, control=8)).verdict == "contradicted"


def test_one_bad_sample_breaks_an_identity():
    row = claim("numerical", None, tolerance=Tolerance(abs=1e-6, reason="r"))
    assert verdict(row, Outcome([1e-9, 1e-9, 1e-2], control=1.0)).verdict == "inconclusive"
    assert verdict(row, Outcome([1e-9, math.nan], control=1.0)).verdict == "contradicted"


def test_a_stochastic_claim_needs_five_seeds():
    few = verdict(claim(seeds=(0, 1, 2)), Outcome([10.0, 10.1, 9.9], control=50.0))
    assert (few.verdict, "3 seeds" in few.reason) == ("inconclusive", True)
    assert verdict(claim(seeds=tuple(range(5))), Outcome([10.0] * 5, control=50.0)).verdict == "reproduced"


def test_without_an_outcome_the_claim_says_why():
    assert verdict(claim(), None).verdict == "untested"
    missing = Claim("k", "p", "s", "t", "1", Check("magnitude"), evidence="published", not_testable="needs an A100")
    assert verdict(missing, None) == type(verdict(missing, None))("not testable", "needs an A100")


def test_orderings_are_paired_by_seed():
    """The spread over seeds is far larger than the lead, which only pairing can see."""
    rng = np.random.default_rng(0)
    base = rng.normal(scale=100, size=8)
    row = claim("ordering", None, order=("a", ("b", "c")))
    outcome = Outcome(
        {"a": base + 1 + rng.normal(scale=0.1, size=8), "b": base, "c": base - 5},
        control={"a": base - 1, "b": base, "c": base},
    )
    assert verdict(row, outcome).verdict == "reproduced"
    with pytest.raises(ValueError, match="differ in number"):
        verdict(row, Outcome({"a": [1.0], "b": [1.0, 2.0], "c": [1.0]}, control=outcome.control))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.floats(-1e3, 1e3))
def test_the_interval_holds_its_mean_and_moves_with_a_shift(samples, shift):
    e = mean_interval(samples)
    assert e.lo <= e.value <= e.hi
    moved = mean_interval(np.asarray(samples) + shift)
    np.testing.assert_allclose(moved.hi - moved.lo, e.hi - e.lo, atol=1e-6 * (1 + abs(shift)))


@given(st.floats(0.1, 1e3), st.floats(1, 5), st.floats(0, 2), st.floats(0, 0.9))
def test_a_wider_tolerance_never_excludes_what_a_narrower_one_takes(published, factor, absolute, relative):
    narrow = claim(published=published, tolerance=Tolerance(abs=absolute, reason="r")).region
    wide = claim(published=published, tolerance=Tolerance(absolute, relative, factor, "r")).region
    assert wide.lo <= narrow.lo <= published <= narrow.hi <= wide.hi


def test_published_figures_matter():
    """Tampering with the published value turns the verdict."""
    outcome = Outcome(10.0, control=50.0)
    assert verdict(claim(published=10.0), outcome).verdict == "reproduced"
    assert verdict(claim(published=20.0), outcome).verdict == "contradicted"
