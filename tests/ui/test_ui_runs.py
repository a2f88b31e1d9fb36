"""The Runs page: select, overlay, compare; a run that is logged while the page is open appears by itself."""

import json
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from workbench import store

pytestmark = [pytest.mark.ui, pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning:bokeh")]
ROWS = ".tabulator-row"


def ids(store_path, study):
    with store.open(store_path) as log:
        return log.runs().filter(study=study).sort("run_id")["run_id"].to_list()


def test_two_ticked_runs_are_compared_and_stand_in_the_address(open_page, url, store_path, screenshot):
    page = open_page(url + "/runs?study=lanes&status=finished")
    expect(page.locator(ROWS)).to_have_count(2)
    for row in range(2):
        box = page.locator(ROWS).nth(row).locator("input[type=checkbox]")
        if not box.is_checked():
            box.check()
    expect(page.get_by_role("heading", name="What differs")).to_be_visible()
    expect(page.get_by_text("half the lanes, three times the rate")).to_be_visible()
    page.wait_for_function("decodeURIComponent(location.search).split('-lanes-').length === 3")
    expect(page.get_by_role("cell", name="rate", exact=True)).to_be_visible()
    screenshot(page, "runs-two-1440")
    again = open_page(page.url)
    expect(again.locator(f"{ROWS}.tabulator-selected")).to_have_count(2)


def test_axes_and_smoothing_come_from_the_address(open_page, url, store_path):
    run = ids(store_path, "long-curve")[0]
    page = open_page(f"{url}/runs?run={quote(json.dumps([run]))}&log_x=true&smooth=0.5&x=time")
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_label("log horizontal")).to_be_checked()
    kinds = page.evaluate(
        "[...Bokeh.documents[0]._all_models.values()].map((m) => m.type).filter((t) => ['LogScale'].includes(t))"
    )
    assert kinds == ["LogScale"]
    page.get_by_label("log vertical").check()
    page.wait_for_function("location.search.includes('log_y=true')")


def test_the_link_of_the_evidence_opens_its_run(open_page, url):
    page = open_page(url + "/claims?claim=lanes.speed-up")
    page.locator("a[href^='runs?run=']").first.click()
    expect(page.locator("h1")).to_have_text("Runs")
    expect(page.locator(f"{ROWS}.tabulator-selected")).to_have_count(1)


def test_a_run_that_is_logged_while_the_page_is_open_appears_and_grows(open_page, url, store_path):
    page = open_page(url + "/runs?study=alive")
    page.get_by_text("0 of").wait_for()
    page.evaluate("window.notReloaded = true")
    with store.run("alive", path=store_path) as run:
        for step in range(5):
            run.log(step=step, loss=1.0 / (step + 1))
        expect(page.locator(ROWS)).to_have_count(1)
        expect(page.locator(ROWS)).to_contain_text("▶ running")
        page.locator(ROWS).locator("input[type=checkbox]").check()
        page.wait_for_function("location.search.includes('alive-')")
        longest = """() => Math.max(0, ...[...Bokeh.documents[0]._all_models.values()]
          .filter((m) => m.type === 'ColumnDataSource')
          .map((m) => (m.data instanceof Map ? m.data.get('smooth') : m.data.smooth) || []).map((v) => v.length))"""
        page.wait_for_function(f"({longest})() >= 5")
        for step in range(5, 40):
            run.log(step=step, loss=1.0 / (step + 1))
        page.wait_for_function(f"({longest})() === 40")
        expect(page.locator(f"{ROWS}.tabulator-selected")).to_have_count(1)
    expect(page.locator(ROWS)).to_contain_text("✓ finished")
    assert page.evaluate("window.notReloaded")
