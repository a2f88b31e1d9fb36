"""The state of the page on parallel streams: laws, equal sizes, ratios of cost, what was trained here, copied code."""

import math
import types

import numpy as np
import polars as pl
import pytest

from apps import scaling_cost, scaling_data, scaling_text
from apps.scaling_cost import Choice
from apps.scaling_state import ScalingState, scores_python
from workbench import parscale, scaling


@pytest.fixture
def state(source):
    return ScalingState(source)


def ran(code):
    """What the copied lines print, object by object."""
    printed = []
    exec(code, {"print": lambda *values: printed.append(values)})
    return printed


def test_the_names_are_those_of_the_rooms():
    assert {f"{name}Law()" for name in scaling_data.FORMS} == set(map(repr, scaling.FORMS))
    assert list(scaling_data.SIZES) == list(parscale.SIZES)
    assert scaling_cost.LENGTHS == parscale.LENGTHS
    assert {f"parscale-{corpus}" for corpus in scaling_data.CORPORA} == {"parscale-stack", "parscale-pile"}


@pytest.mark.parametrize("form", scaling_data.FORMS)
def test_a_size_of_the_same_loss_has_that_loss_with_one_stream(state, form):
    state.param.update(form=form, streams=8, size=1.6)
    worth = state.worth()
    law = scaling_data.law("stack", form)
    assert law.predict(parameters=worth.size, streams=1).value == pytest.approx(worth.loss, rel=1e-6)
    assert worth.size_lo <= worth.size <= worth.size_hi
    assert worth.loss_lo < worth.loss < worth.loss_hi
    assert (worth.size > 1.6e9) == (form != "Chinchilla")
    assert state.reach() >= worth.size_hi


def test_the_interval_of_the_size_is_near_that_of_the_constant(state):
    lo, hi = scaling_data.law("stack", "ParScale").interval("k", 0.9)
    size = lambda k: 1.6e9 * (1 + k * math.log(8))
    worth = state.worth()
    assert worth.size_lo == pytest.approx(size(lo), rel=0.05)
    assert worth.size_hi == pytest.approx(size(hi), rel=0.05)


def test_more_streams_than_published_have_a_curve_and_say_that_they_are_extrapolated(state):
    assert state.drawn() == [1, 2, 4, 8]
    assert "Extrapolated" not in scaling_text.answer(state)
    state.streams = 20
    assert state.drawn() == [1, 2, 4, 8, 20]
    curves = state.curves()
    assert (curves[20]["loss"].to_numpy() < curves[8]["loss"].to_numpy()).all()
    assert (curves[20]["lo"].to_numpy() < curves[20]["loss"].to_numpy()).all()
    assert "Extrapolated" in scaling_text.answer(state)
    table = state.loss_table()
    assert dict(table["evidence"].value_counts().iter_rows()) == {"published": 24, "modelled": 5 * scaling_data.POINTS}


def test_the_forms_are_ranked_by_what_they_have_not_seen(state):
    ranked = scaling_data.ranking("stack")
    assert set(ranked["form"]) == set(scaling_data.FORMS)
    assert ranked["form"].to_list()[0] == "InverseRoot"
    assert ranked["form"].to_list()[-1] == "Chinchilla"
    shown = scaling_text.forms_html(state, ranked)
    assert shown.count("class=chosen") == 1
    assert shown.index("InverseRoot") < shown.index("class=chosen") < shown.index("PowerProduct")


def test_the_ratios_of_the_paper_s_setting_are_those_it_printed(state):
    printed = scaling_data.published_ratios(state.source)
    assert printed["batch"].to_list() == [1, 2, 4, 8]
    assert printed["latency"].to_list() == [7.0, 3.5, 1.8, 0.95]
    ours = state.ratio_table().head(4)
    assert np.allclose(ours["memory_ratio"], printed["memory"], rtol=0.03)
    assert np.allclose(ours["latency_ratio"], printed["latency"], rtol=0.03)
    assert state.shows_published_ratios()
    assert 7 < scaling_cost.crossover(state.choice(), scaling_cost.DEVICE) < 8
    for change in ({"model": "1.1B"}, {"priced": 4}, {"corpus": "pile"}, {"input_tokens": 64}, {"devices": ["L4"]}):
        other = ScalingState(state.source, **change)
        assert not other.shows_published_ratios()
        assert "published" not in scaling_text.ratios_html(other, printed)


@pytest.mark.parametrize("device", scaling_cost.devices())
def test_every_device_of_the_catalogue_has_a_price(device):
    table = scaling_cost.ratios(Choice(), device)
    assert (table["latency_ratio"].to_numpy() > 0).all()
    assert scaling_cost.parts(Choice(), device, 4)["latency_s"].is_sorted()
    assert scaling_cost.crossover_text(Choice(), device)


def test_where_nothing_can_be_compared_the_reason_is_told(state):
    state.param.update(model="4.4B", priced=8)
    assert "there is no model to price that is as good" in state.reason()
    assert state.ratio_table().is_empty()
    assert state.part_table().height == 4
    state.devices = ["a device that nobody has"]
    assert state.reason() == "Choose a device."
    assert state.part_table().is_empty()
    for model in scaling_data.SIZES:  # the reason and the room agree
        for streams in (2, 4, 8):
            choice = Choice(model, streams)
            if scaling_cost.reason(choice):
                with pytest.raises(ValueError, match="loss"):
                    scaling_cost.ratios(choice, scaling_cost.DEVICE)
            else:
                assert scaling_cost.ratios(choice, scaling_cost.DEVICE).height == 7


def test_a_crossover_outside_of_the_batches_is_told_not_computed():
    ahead = pl.DataFrame({"latency_ratio": [9.0, 2.0]})
    behind = pl.DataFrame({"latency_ratio": [0.9, 0.2]})
    for table, said in ((ahead, "beyond 64"), (behind, "below 1")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scaling_cost, "ratios", lambda *_, table=table: table)
            patch.setattr(scaling_cost, "crossover", scaling_cost.crossover.__wrapped__)
            assert scaling_cost.crossover_text(Choice(), "L4") == said


def test_the_copied_python_gives_the_numbers_of_the_page(state):
    state.param.update(streams=16, size=2.8, devices=["A100-80GB-SXM", "T4"], input_tokens=64, batch=8)
    printed = ran(state.law_python())
    worth = state.worth()
    assert printed[2][0] == pytest.approx(worth.size)
    assert printed[3][0].hi == pytest.approx(worth.loss_hi)
    curve = next(values[1] for values in printed if values[0] == 16)
    assert np.allclose(curve.lo, state.curves()[16]["lo"])
    ratios = state.ratio_table()
    printed = ran(state.ratio_python())
    assert [values[0] for values in printed][::2] == ["A100-80GB-SXM", "T4"]
    assert np.allclose(printed[2][2], ratios.filter(device="T4")["latency_ratio"])
    assert printed[3][0] == pytest.approx(scaling_cost.crossover(state.choice(), "T4"))
    parts = state.part_table()
    printed = ran(state.part_python())
    assert len(printed) == parts.height == 8
    assert printed[7][1]["decode_s"] == pytest.approx(parts["decode_s"][7])
    state.param.update(model="4.4B")
    assert ran(state.ratio_python())[0][0].height == 48
    assert ran(scores_python())[0][0].height == 48
    assert ran(state.trained_python())[0][0].is_empty()


def test_a_reset_shows_what_the_page_opens_with(state):
    state.param.update(streams=3, form="Theory", devices=["L4"], batch=64)
    state.reset()
    assert (state.streams, state.form, state.devices, state.batch) == (8, "ParScale", ["A100-80GB-SXM"], 1)


def test_what_was_trained_here_is_shown_and_nothing_else(source):
    assert scaling_data.trained(source).is_empty()
    name = pl.when(pl.col("paper") == "lanes").then(pl.lit("parscale")).otherwise(pl.col("paper"))
    rows = source.claims().with_columns(
        paper=name,
        claim=pl.when(pl.col("paper") == "lanes").then("train." + pl.col("claim")).otherwise(pl.col("claim")),
    )
    shown = scaling_data.trained(types.SimpleNamespace(claims=lambda: rows))
    assert shown.height == source.claims().filter(paper="lanes")["run_id"].drop_nulls().len()
    assert "claims?claim=lanes" in scaling_text.trained_html(shown)


def test_the_published_scores_are_all_there():
    assert scaling_data.scores().height == 24
    assert scaling_data.long_training().columns == ["score", "1", "2", "4", "8"]
    assert "45.4" in scaling_text.scores_html()
    assert "HumanEval@1" in scaling_text.long_html()
