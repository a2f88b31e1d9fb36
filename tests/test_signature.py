"""The signature plot: which claims it draws, where, and that figure and SVG agree."""

import math
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "apps"))

from example_store import PAPERS, fill, named_studies

from workbench import display, store
from workbench.scoreboard import scoreboard
from workbench.signature import marks, remainder, signature, signature_svg


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    with named_studies(PAPERS):
        fill(path)
        with store.open(path) as log:
            return scoreboard(log, ["lanes"])


def test_claims_with_a_ratio_are_drawn_and_the_rest_is_told(rows):
    drawn = {mark.claim_id.split(".")[1] for mark in marks(rows)}
    assert drawn == {"speed-up", "iterations", "small-scale", "model", "queue", "memory", "energy", "noise"}
    assert remainder(rows) == "No ratio to draw: 2 ✓ reproduced, 1 ∅ not testable, 1 · untested"


def test_ratio_interval_and_tolerance_are_those_of_the_scoreboard(rows):
    mark = next(m for m in marks(rows) if m.claim_id == "lanes.queue")
    row = rows.filter(pl.col("claim") == "queue").row(0, named=True)
    assert mark.ratio == row["ratio"]
    assert (mark.lo, mark.hi) == (row["measured_lo"] / 12, row["measured_hi"] / 12)
    assert (mark.band_lo, mark.band_hi) == pytest.approx((0.9, 1.1))
    assert mark.colour == display.PALETTE["simulated"]


def test_a_range_has_a_tick_at_both_ends_and_lies_around_its_middle(rows):
    mark = next(m for m in marks(rows) if m.claim_id == "lanes.iterations")
    assert mark.ticks == pytest.approx((math.sqrt(3 / 4), math.sqrt(4 / 3)))
    assert mark.ratio == pytest.approx(4 / math.sqrt(12))


def test_a_verdict_against_the_paper_has_its_own_colour(rows):
    against = {m.claim_id for m in marks(rows) if m.colour == display.PALETTE["contradiction"]}
    assert against == {"lanes.memory", "lanes.energy"}


def test_the_figure_carries_the_claim_of_each_mark(rows):
    figure = signature(rows, width=800)
    source = figure.select_one({"name": "marks"}).data_source
    assert source.data["claim_id"] == [mark.claim_id for mark in marks(rows)]
    assert source.data["fill"][source.data["evidence"].index("modelled")] == "#FFFFFF"
    assert figure.x_range.start < min(source.data["x"]) <= max(source.data["x"]) < figure.x_range.end


def test_a_ratio_past_the_axis_is_drawn_inside_it(rows):
    far = rows.with_columns(measured=pl.col("measured") * 1e6)
    figure = signature(far, width=800, labels="above")
    xs = figure.select_one({"name": "marks"}).data_source.data["x"]
    assert all(figure.x_range.start <= x <= figure.x_range.end for x in xs)
    assert figure.x_range.end < 3e3


def test_a_negative_ratio_has_a_place_too(rows):
    signature_svg(rows.with_columns(measured=-pl.col("measured")))
    figure = signature(rows.with_columns(measured=-pl.col("measured")), width=800)
    assert min(figure.select_one({"name": "marks"}).data_source.data["x"]) == figure.x_range.start


def test_the_svg_is_well_formed_and_names_no_theme_colour(rows):
    text = signature_svg(rows)
    root = ElementTree.fromstring(text)
    groups = root.findall("{http://www.w3.org/2000/svg}g")
    assert len(groups) == len(marks(rows))
    assert not {"#000", "#fff", "#FFFFFF", "black", "white"} & set(text.replace('"', " ").split())
    assert "<script" not in signature_svg(rows.with_columns(statement=pl.lit("<script>")))


def test_at_most_limit_claims_and_the_rest_is_counted(rows):
    assert "6 further claims are in the table" in signature_svg(rows, limit=2)
    assert len(set(signature(rows, limit=2).select_one({"name": "marks"}).data_source.data["claim_id"])) == 2


def test_nothing_to_draw_is_no_error(rows):
    untested = rows.filter(pl.col("verdict") == "untested")
    assert "1 · untested" in signature_svg(untested)
    assert signature(untested).select_one({"name": "marks"}).data_source.data["x"] == []
    assert ElementTree.fromstring(signature_svg(rows.head(0))) is not None


def test_other_labels_are_refused(rows):
    with pytest.raises(ValueError, match="labels: 'right'"):
        signature(rows, labels="right")
