"""All pages at both sizes: they come, they fit, nothing fails, and an empty store says what to do."""

import pytest
from playwright.sync_api import expect
from ui_sizes import PHONE, WIDE

pytestmark = [pytest.mark.ui, pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning:bokeh")]
NAMELESS = """() => {
  const found = []
  const walk = (root) => root.querySelectorAll('*').forEach((el) => {
    if (el.shadowRoot) walk(el.shadowRoot)
    if (!['INPUT', 'BUTTON', 'SELECT', 'TEXTAREA'].includes(el.tagName) || el.type === 'hidden') return
    if (el.closest('.tabulator') || el.getAttribute('aria-hidden') === 'true') return
    const label = el.getAttribute('aria-label') || el.getAttribute('aria-labelledby') || el.title ||
      (el.labels && el.labels.length) || el.textContent.trim() || el.placeholder
    if (!label) found.push(el.outerHTML.slice(0, 160))
  })
  walk(document)
  return found
}"""
PAGES = {
    "scoreboard": "/", "claims": "/claims", "rnn": "/rnn", "scaling": "/scaling", "runs": "/runs",
    "compare": "/compare", "store": "/store",
}  # fmt: skip
TITLES = {
    "scoreboard": "Scoreboard",
    "claims": "Is it what the paper said?",
    "rnn": "When does parallel-in-time pay?",
    "scaling": "What are P parallel streams worth?",
    "runs": "Runs",
    "compare": "Compare two runs",
    "store": "Store",
}
LINKS = TITLES | {"rnn": "Parallel RNNs", "scaling": "Scaling", "compare": "Compare"}
FILLS = {"rnn": "workbench reproduce pararnn", "scaling": "workbench reproduce parscale"}


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_each_page_comes_and_fits(open_page, url, screenshot, name, size):
    page = open_page(url + PAGES[name], size)
    expect(page.locator("h1")).to_have_text(TITLES[name])
    if name in ("claims", "runs"):
        expect(page.locator(".tabulator-row").first).to_be_visible()
    if name not in ("scoreboard", "store"):
        expect(page.locator("canvas").first).to_be_visible()
    if size == PHONE:  # the bar of controls has folded into its drawer
        expect(page.locator(".sidebar")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "Parallel workbench" in page.title()
    screenshot(page, f"{name}-{size[0]}")
    assert page.evaluate(NAMELESS) == []  # every control can be named by a screen reader


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_store_names_the_command_that_fills_it(open_page, empty_url, screenshot, name):
    page = open_page(empty_url + PAGES[name])
    command = FILLS.get(name, "workbench reproduce")
    expect(page.get_by_text(command, exact=True).first).to_be_visible()
    screenshot(page, f"{name}-empty")


def test_the_navigation_leads_to_each_page_and_marks_where_one_is(open_page, url):
    page = open_page(url)
    for name in ("runs", "rnn", "scaling", "compare", "store", "claims"):
        page.get_by_role("navigation").get_by_role("link", name=LINKS[name], exact=True).click()
        expect(page.locator("h1")).to_have_text(TITLES[name])
        expect(page.locator("nav a[aria-current=page]")).to_have_text(LINKS[name])


def test_a_page_that_takes_long_says_that_it_is_loading(open_page, url):
    page = open_page(url)
    held, slow = [], True
    page.route("**/*.js*", lambda route: held.append(route) if slow else route.continue_())
    page.goto(url + "/claims", wait_until="commit")
    expect(page.get_by_role("status")).to_contain_text("Loading Is it what the paper said?")
    slow = False
    for route in held:
        route.continue_()
    expect(page.locator("h1")).to_have_text(TITLES["claims"])
    expect(page.locator("#loader")).to_have_count(0)


def test_a_count_of_the_scoreboard_leads_to_its_claims(open_page, url):
    page = open_page(url)
    page.get_by_role("link", name="1 contradicted").click()
    expect(page.locator(".tabulator-row")).to_have_count(1)
    expect(page.locator(".tabulator-row")).to_contain_text("Memory grows")
    expect(page.get_by_role("checkbox", name="contradicted")).to_be_checked()
