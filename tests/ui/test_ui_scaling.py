"""The page on parallel streams over an empty store: the law, the equal size, the cost, all in the address."""

import pytest
from playwright.sync_api import expect
from ui_sizes import PHONE, WIDE

pytestmark = [pytest.mark.ui, pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning:bokeh")]
# The legends in the order in which the browser got them; those of figures that are gone stay at the front.
LEGENDS = """() => [...Bokeh.documents[0]._all_models.values()].filter((m) => m.type === 'LegendItem')
  .map((m) => m.label.value || m.label)"""


def has_legend(page, *labels):
    page.wait_for_function(f"(labels) => labels.every((label) => ({LEGENDS})().includes(label))", arg=list(labels))


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_an_empty_store_has_everything_but_what_was_trained_here(open_page, empty_url, screenshot, size):
    page = open_page(empty_url + "/scaling", size)
    expect(page.get_by_text("reach the loss of a model of 2.91")).to_be_visible()
    expect(page.get_by_role("cell", name="InverseRoot best")).to_be_visible()
    expect(page.get_by_role("cell", name="batch 7.6", exact=True)).to_be_attached()
    expect(page.get_by_text("No training run here yet")).to_be_attached()
    has_legend(page, "P = 1", "P = 8", "any device", "A100-80GB-SXM", "published")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    screenshot(page, f"scaling-law-{size[0]}")


def test_the_controls_change_the_figures_and_stand_in_the_address(open_page, empty_url):
    page = open_page(empty_url + "/scaling")
    expect(page.get_by_text("reach the loss of a model of 2.91")).to_be_visible()
    slider = page.get_by_role("slider", name="Streams P")
    slider.focus()
    slider.press("ArrowRight")
    expect(page.get_by_text("Extrapolated: no loss is published beyond 8 streams.")).to_be_visible()
    has_legend(page, "P = 9, extrapolated")
    page.get_by_role("combobox", name="Form of the law").click()
    page.get_by_role("menuitem", name="Theory").click()
    expect(page.locator("tr.chosen")).to_contain_text("Theory")
    page.wait_for_function("location.search.includes('P=9') && location.search.includes('Theory')")
    page.get_by_role("combobox", name="Model", exact=True).click()
    page.get_by_role("menuitem", name="4.4B").click()
    expect(page.get_by_text("there is no model to price that is as good")).to_be_visible()
    page.get_by_role("button", name="Reset filters").click()
    expect(page.get_by_text("reach the loss of a model of 2.91")).to_be_visible()
    expect(page.get_by_role("cell", name="batch 7.6", exact=True)).to_be_visible()


def test_the_address_is_restored_and_the_copied_python_runs(open_page, empty_url):
    page = open_page(empty_url + "/scaling?corpus=pile&form=InverseRoot&P=16&N=2.8&device=%5B%22H100-SXM%22%5D&in=64")
    expect(page.get_by_text("parameters with 16 streams reach the loss")).to_be_visible()
    expect(page.locator("tr.chosen")).to_contain_text("InverseRoot")
    has_legend(page, "P = 16, extrapolated", "H100-SXM")
    expect(page.get_by_text("mean of 64 to 512 tokens out").first).to_be_visible()
    buttons = page.get_by_role("button", name="Copy as Python")
    expect(buttons).to_have_count(5)
    wanted = ("scaling.InverseRootLaw()", "equal_loss_ratio", "memory_parts", "parscale-downstream", "scoreboard")
    for at, told in enumerate(wanted):
        page.evaluate("navigator.clipboard.writeText('')")
        buttons.nth(at).click()
        page.wait_for_function("(told) => navigator.clipboard.readText().then((text) => text.includes(told))", arg=told)
        code = page.evaluate("navigator.clipboard.readText()")
        exec(code, {"print": lambda *values: None})


def test_the_scoreboard_leads_here(open_page, empty_url):
    page = open_page(empty_url)
    page.locator("table.matrix").get_by_role("link", name="What are P parallel streams worth?").click()
    expect(page.locator("h1")).to_have_text("What are P parallel streams worth?")
    expect(page.get_by_text("reach the loss of a model of 2.91")).to_be_visible()
