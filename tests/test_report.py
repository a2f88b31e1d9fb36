"""The scoreboard in the terminal, and the report as one file that asks nobody for anything."""

import html.parser
import io
import sys
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent / "apps"))

from example_store import PAPERS, TOY, fill, named_studies

from workbench import store
from workbench.report import ours, report, report_text
from workbench.scoreboard import scoreboard


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    with named_studies(PAPERS, TOY):
        fill(path)
        with store.open(path) as log:
            yield log


def printed(table, width=170):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    return console.file.getvalue()


def line(text, words):
    found = [one for one in text.splitlines() if words in one]
    assert len(found) == 1
    return found[0]


def test_a_line_holds_published_here_ratio_evidence_and_verdict(log):
    rows = scoreboard(log, ["lanes"])
    text = printed(report_text(rows))
    row = line(text, " speed-up ")
    for part in ("lanes", "7.4x", "7.39", "0.999", "●", "✓ reproduced"):
        assert part in row
    assert "◐" in line(text, " queue ")
    assert "✗ contradicted" in line(text, " memory ")
    assert text.count("(stale)") == 1
    told = printed(report_text(rows, statements=True))
    assert "7.39 [7.27, 7.51]" in line(told, " speed-up ")
    assert "Eight lanes finish the loop" in told


def test_what_a_model_says_stands_beside_what_was_measured():
    row = {f"{name}{end}": None for name in ("measured", "modelled") for end in ("", "_lo", "_hi")} | {"unit": "%"}
    measured = {"measured": 2.0, "measured_lo": 1.0, "measured_hi": 3.0}
    assert ours(row) == "–"
    assert ours(row | {"modelled": 5.0}) == "5\u2009%"
    assert ours(row | measured) == "2 [1, 3]\u2009%"
    assert ours(row | measured | {"modelled": 5.0}) == "2 [1, 3]\u2009%, ○\u00a05\u2009%"


def test_claims_that_cannot_be_tested_fold_to_a_count_unless_everything(log):
    rows = scoreboard(log, ["lanes", "amdahl"])
    text = printed(report_text(rows))
    assert "∅ not testable here: 1 of lanes, 1 of amdahl; --everything lists them" in text
    assert "512 accelerators" not in text
    everything = printed(report_text(rows, everything=True, statements=True))
    assert "∅ not testable" in everything
    assert "(needs 512 accelerators)" in everything
    assert "--everything" not in everything


def test_the_name_of_a_paper_stands_on_one_line_however_long(log):
    rows = scoreboard(log, ["lanes", "amdahl"]).with_columns(paper=pl.col("paper") + "-with-a-longer-name")
    assert line(printed(report_text(rows), width=112), " speed-up ").startswith("lanes-with-a-longer-name ")


def test_tested_claims_come_first(log):
    text = printed(report_text(scoreboard(log, ["amdahl", "lanes"]), everything=True))
    assert text.index(" speed-up ") < text.index(" mainframe ")


def test_square_brackets_in_a_toml_are_text_not_markup(log):
    rows = scoreboard(log, ["lanes"])
    rows = rows.with_columns(published_text=rows["published_text"] + "[red]")
    assert "7.4x[red]" in printed(report_text(rows))


class Links(html.parser.HTMLParser):
    """Everything that a browser would fetch, and every tag."""

    def __init__(self):
        super().__init__()
        self.fetched, self.tags, self.open = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "a":
            self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_the_report_is_one_file_without_script_or_request(log):
    text = report(log, ["lanes", "amdahl"])
    seen = Links()
    seen.feed(text)
    assert seen.fetched == []
    assert not {"script", "link", "iframe", "img"} & seen.tags
    assert "url(" not in text
    assert "@import" not in text


def test_the_report_holds_counts_plot_reason_machine_and_command(log):
    text = report(log, ["lanes", "amdahl"])
    assert text.count("<svg") == 2
    assert "14 claims of 2 papers" in text
    assert "not in [0.9, 1.1]" in text
    assert "workbench reproduce lanes --preset quick" in text
    assert "workbench reproduce lanes --preset full" in text
    assert "(not verified)" in text
    assert "GiB" in text


def test_one_paper_alone(log):
    assert "Amdahl" not in report(log, ["lanes"])
    with pytest.raises(KeyError, match="nothing-of-the-kind"):
        report(log, ["nothing-of-the-kind"])
