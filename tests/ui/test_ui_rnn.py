"""The page on parallel recurrences: the speed-up in its parts, curves that follow the filters, a solve on demand."""

import pytest
from playwright.sync_api import expect
from ui_sizes import PHONE, WIDE

pytestmark = [pytest.mark.ui, pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning:bokeh")]
# The legends in the order in which the browser got them; those of figures that are gone stay at the front.
CURVES = """() => [...Bokeh.documents[0]._all_models.values()].filter((m) => m.type === 'LegendItem')
  .map((m) => m.label.value || m.label).filter((label) => /steps|float/.test(label))"""

# What is written in the figures, and by how many pixels it stands over the right edge of its frame.
WRITTEN = """() => [...Bokeh.documents[0]._all_models.values()].filter((m) => m.type === 'Figure').flatMap((m) => {
  const view = Bokeh.index.find_one(m)
  const glyphs = view ? [...view.renderer_views.values()].map((r) => r.glyph) : []
  return glyphs.filter((g) => g?.model.type === 'Text' && g.swidth?.length).map((g) => {
    const width = g.text_align.value === 'right' ? 0 : g.swidth[0]
    return [[...g.text][0], g.sx[0] + g.x_offset.value + width - view.frame.bbox.right]
  })
})"""


def test_no_speed_up_stands_without_the_ratio_to_the_compiled_loop(open_page, url):
    page = open_page(url + "/rnn")
    expect(page.get_by_text("The ratio to lax.scan is the honest one.")).to_be_visible()
    expect(page.get_by_text("against the loop", exact=True)).to_have_count(2)
    expect(page.get_by_text("against lax.scan: ")).to_have_count(2)
    for part in ("dispatch of slices", "dispatch of steps", "fusion", "algorithm"):
        expect(page.get_by_role("cell", name=part, exact=True)).to_have_count(2)
    expect(page.get_by_role("cell", name="times slower")).to_have_count(2)


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_what_is_written_in_the_chains_is_not_cut_off(open_page, url, screenshot, size):
    page = open_page(url + "/rnn", size)
    page.wait_for_function(f"({WRITTEN})().length >= 10")
    written = page.evaluate(WRITTEN)
    assert sum("times slower" in text for text, _ in written) == 2
    assert [(text, over) for text, over in written if over > 0] == []
    page.get_by_text("against the loop").first.scroll_into_view_if_needed()
    screenshot(page, f"rnn-chain-{size[0]}")


def test_the_curves_follow_the_filters_and_stand_in_the_address(open_page, url):
    page = open_page(url + "/rnn?length=%5B512%5D")
    page.get_by_role("checkbox", name="Jacobi, float32").check()
    page.get_by_role("checkbox", name="ParaLSTM").check()
    page.wait_for_function("location.search.includes('Jacobi') && location.search.includes('paralstm')")
    wanted = "['512 steps', 'Jacobi, float32', 'Newton, float32']"
    page.wait_for_function(f"({CURVES})().slice(-3).join() === {wanted}.join()")
    again = open_page(page.url)
    expect(again.get_by_role("checkbox", name="Jacobi, float32")).to_be_checked()
    expect(again.get_by_role("checkbox", name="512", exact=True)).to_be_checked()


def test_the_scoreboard_leads_here(open_page, url):
    page = open_page(url)
    page.locator("table.matrix").get_by_role("link", name="When does parallel-in-time pay?").click()
    expect(page.locator("h1")).to_have_text("When does parallel-in-time pay?")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_lab_solves_what_the_address_says(open_page, url, screenshot, size):
    page = open_page(url + "/rnn?map=tanh+network&at=1.1&T=64", size)
    page.get_by_role("button", name="Solve").click()
    expect(page.get_by_text("tanh network, gain g = 1.1, 64 steps, Newton")).to_be_visible()
    expect(page.get_by_text("converged", exact=True)).to_be_visible()
    expect(page.get_by_text("it forgets its start")).to_be_visible()
    page.get_by_text("time of a call").scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    screenshot(page, f"rnn-lab-{size[0]}")
