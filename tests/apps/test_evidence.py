"""The evidence panel says what was published, what was found, how it is judged, and flags what needs care."""

import polars as pl
import pytest

from apps.evidence import evidence


@pytest.fixture
def panel(source):
    def make(claim, **changed):
        frame = source.claims().filter((pl.col("paper") == "lanes") & (pl.col("claim") == claim))
        return evidence(frame.row(0, named=True) | changed, frame)

    return make


def test_it_holds_both_figures_the_region_the_control_and_the_command(panel, filled):
    text = panel("speed-up")
    assert "7.4x" in text
    assert "7.39 [7.27, 7.51]" in text
    assert "6.66 to 8.14" in text
    assert "1: failed, as it must" in text
    assert "the printed digits and the spread over seeds" in text
    assert "workbench reproduce lanes --preset quick" in text
    assert f"runs?run=%5B%22{filled[1]['claims']}%22%5D" in text
    assert "not verified" not in text
    assert "stale" not in text


def test_unverified_figures_and_stale_results_are_flagged(panel):
    assert "not verified" in panel("energy")
    assert "stale" in panel("small-scale")


def test_conditions_that_differ_are_marked(panel):
    assert '<tr class="differs"><td class="key">lanes</td><td>8</td><td>2</td></tr>' in panel("small-scale")
    assert 'class="differs"' not in panel("speed-up")


def test_what_was_not_run_says_why(panel):
    assert "Needs 512 accelerators." in panel("cluster")
    assert "workbench reproduce" not in panel("cluster")
    assert "the full preset does" in panel("long")


def test_text_of_a_toml_is_shown_not_run(panel):
    assert "<script>" not in panel("speed-up", statement="<script>alert(1)</script>", source="<script>")


@pytest.mark.parametrize(
    ("claim", "words"), [("order", "above 0"), ("exact", "exactly 0"), ("small-scale", "at least")]
)
def test_the_region_in_words(panel, claim, words):
    assert words in panel(claim)
