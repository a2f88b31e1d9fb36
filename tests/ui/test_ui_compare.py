"""The comparison and the Store page: runs are chosen and stay in the address; the check comes and names what mends."""

import pytest
from playwright.sync_api import expect

from workbench import store

pytestmark = [pytest.mark.ui, pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning:bokeh")]


@pytest.fixture(scope="module")
def ids(store_path):
    """The ids of the runs with the configuration `lanes`: 8, 4 and 2."""
    with store.open(store_path) as log:
        return log.runs().filter(study="lanes").sort("started")["run_id"].to_list()


def test_another_run_is_chosen_and_a_refresh_keeps_it(open_page, url, ids):
    page = open_page(f"{url}/compare?run={ids[0]}&run={ids[1]}")
    expect(page.get_by_role("link", name=ids[0])).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_role("cell", name="rate", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Claims that both tested")).to_have_count(0)
    page.get_by_role("combobox", name="B", exact=True).click()
    page.get_by_role("menuitem", name="lanes, failed").click()
    page.wait_for_function("(run) => location.search.includes(run)", arg=ids[2])
    expect(page.get_by_role("link", name=ids[2])).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name=ids[0])).to_be_visible()
    expect(page.get_by_role("link", name=ids[2])).to_be_visible()
    page.get_by_role("button", name="Swap A and B").click()
    page.wait_for_function(
        "([a, b]) => location.search.includes(a) && location.search.indexOf(b) < location.search.indexOf(a)",
        arg=[ids[0], ids[2]],
    )


def test_an_unknown_run_is_said_on_the_page(open_page, url, ids):
    page = open_page(f"{url}/compare?run=20000101-000000-gone-000000&run={ids[0]}")
    expect(page.get_by_text("No such run")).to_be_visible()
    expect(page.get_by_text("'20000101-000000-gone-000000' names no run")).to_be_visible()


def test_the_runs_page_leads_to_the_comparison(open_page, url, ids):
    page = open_page(f"{url}/runs?run={ids[0]}&run={ids[1]}")
    page.get_by_role("link", name="Compare these two runs").click()
    expect(page.locator("h1")).to_have_text("Compare two runs")
    expect(page.get_by_role("link", name=ids[1])).to_be_visible()


def test_the_copied_python_gives_the_values(open_page, url, ids):
    page = open_page(f"{url}/compare?run={ids[0]}&run={ids[1]}")
    expect(page.get_by_role("link", name=ids[0])).to_be_visible()
    page.get_by_role("button", name="Copy as Python").nth(1).click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.includes('last_values'))")
    told = []
    exec(page.evaluate("navigator.clipboard.readText()"), {"print": told.append})
    assert told[0]["metric"].to_list() == ["accuracy", "loss"]


def test_the_store_is_checked_while_the_page_is_open(open_page, url, store_path):
    page = open_page(url + "/store")
    expect(page.get_by_text(str(store_path), exact=True)).to_be_visible()
    expect(page.get_by_text("nothing is missing, torn or lying around")).to_be_visible()
    loose = store_path / "runs" / "notes.txt"
    loose.touch()
    try:
        with store.run("seen-by-the-check", path=store_path) as run:
            expect(page.get_by_text("runs/notes.txt", exact=True)).to_be_visible()
            expect(page.get_by_text("✗ not well")).to_be_visible()
    finally:
        loose.unlink()
        store.delete(run.id, path=store_path)
    page.get_by_role("link", name="failed").click()
    expect(page.locator(".tabulator-row").first).to_contain_text("✗ failed")
