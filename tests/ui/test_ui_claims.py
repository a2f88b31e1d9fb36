"""The Claims page: filters live in the address, a click opens the evidence, a toy paper is there like any other."""

import pytest
from playwright.sync_api import expect
from ui_sizes import PHONE

pytestmark = [pytest.mark.ui, pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning:bokeh")]
ROWS = ".tabulator-row"


def test_a_filter_goes_to_the_address_and_the_address_brings_it_back(open_page, url):
    page = open_page(url + "/claims?paper=lanes")
    expect(page.locator(ROWS)).to_have_count(12)
    page.get_by_label("Search").fill("loop")
    page.get_by_label("Search").press("Enter")
    page.get_by_role("checkbox", name="not reproduced").check()
    expect(page.locator(ROWS)).to_have_count(1)
    page.wait_for_function("location.search.includes('verdict') && location.search.includes('q=loop')")
    again = open_page(page.url)
    expect(again.locator(ROWS)).to_have_count(1)
    expect(again.locator(ROWS)).to_contain_text("a fifth of the energy")
    again.get_by_role("button", name="Reset filters").click()
    expect(again.locator(ROWS)).to_have_count(20)  # a page of all claims


def test_a_row_opens_its_evidence_and_the_address_keeps_it(open_page, url, screenshot):
    page = open_page(url + "/claims?paper=lanes")
    expect(page.locator("canvas").first).to_be_visible()  # which moves the table down
    page.locator(ROWS, has_text="Eight lanes finish").click()
    drawer = page.locator(".MuiDrawer-root[role=presentation]")
    expect(page.get_by_text("How it is judged")).to_be_visible()
    for words in ("7.4x", "7.39 [7.27, 7.51]", "6.66 to 8.14", "failed, as it must", "five repetitions"):
        expect(drawer).to_contain_text(words)
    page.wait_for_function("location.search.includes('claim=lanes.speed-up')")
    screenshot(page, "evidence-1440")
    drawer.get_by_role("button", name="Copy as Python").click()
    page.wait_for_function("navigator.clipboard.readText().then((t) => t.includes('workbench.reproduce'))")
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    page.wait_for_function("!location.search.includes('speed-up')")


def test_the_keyboard_opens_the_evidence_of_a_row(open_page, url):
    page = open_page(url + "/claims?paper=lanes")
    row = page.locator(ROWS, has_text="Eight lanes finish").get_by_role("button")
    page.get_by_role("button", name="Copy as Python").focus()
    for _ in range(30):  # in the order of the page: buttons of the card, heads of the table, rows
        page.keyboard.press("Tab")
        if row.evaluate("(el) => el === el.getRootNode().activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text("How it is judged")).to_be_visible()
    page.wait_for_function("location.search.includes('claim=lanes.speed-up')")


def test_a_mark_opens_the_evidence_too(open_page, url):
    page = open_page(url + "/claims?paper=lanes")
    expect(page.locator("canvas").first).to_be_visible()
    page.evaluate(
        """() => {
          const values = (m, name) => m.data instanceof Map ? m.data.get(name) : m.data[name]
          const sources = [...Bokeh.documents[0]._all_models.values()].filter((m) => m.type === 'ColumnDataSource')
          const source = sources.find((m) => values(m, 'claim_id'))
          source.selected.indices = [[...values(source, 'claim_id')].indexOf('lanes.queue')]
        }"""
    )
    page.wait_for_function("location.search.includes('claim=lanes.queue')")
    expect(page.get_by_text("How it is judged")).to_be_visible()


def test_the_evidence_fits_a_phone(open_page, url, screenshot):
    page = open_page(url + "/claims?claim=lanes.energy", PHONE)
    heading = page.get_by_text("How it is judged")
    heading.wait_for()
    expect(page.locator(".sidebar")).to_have_count(0)
    page.wait_for_function("document.getAnimations().length === 0")  # the drawer has come to rest
    assert heading.bounding_box()["x"] >= 0
    expect(page.get_by_text("not verified: not checked against the paper")).to_be_visible()
    screenshot(page, "evidence-390")


def test_a_claim_can_be_read_whole_on_a_phone(open_page, url, screenshot):
    page = open_page(url + "/claims?paper=lanes", PHONE)
    statement = page.locator(ROWS, has_text="Eight lanes finish").locator("[tabulator-field=statement]")
    expect(statement).to_have_css("width", "200px")
    page.get_by_text("for its evidence").evaluate("(line) => line.scrollIntoView()")
    expect(statement).to_be_in_viewport(ratio=1)
    screenshot(page, "claims-table-390")


def test_a_toy_paper_from_another_folder_stands_with_the_others(open_page, url):
    page = open_page(url + "/claims")
    expect(page.locator("table.matrix")).to_contain_text("amdahl")
    page.get_by_label("Search").fill("amdahl")
    page.get_by_label("Search").press("Enter")
    expect(page.locator(ROWS)).to_have_count(2)
    expect(page.locator(ROWS).first).to_contain_text("1000 processors")


def test_the_filtered_table_is_downloaded(open_page, url):
    page = open_page(url + "/claims?paper=lanes&verdict=reproduced")
    expect(page.locator(ROWS)).to_have_count(4)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    lines = download.value.path().read_text(encoding="utf-8").strip().splitlines()
    assert lines[0].startswith("paper,claim,statement,published_text")
    assert len(lines) == 5


def test_an_address_that_makes_no_sense_shows_everything(open_page, url):
    page = open_page(url + "/claims?paper=%7B%22a%22%3A1%7D&claim=no.such&evidence=5")
    expect(page.locator(ROWS)).to_have_count(20)
