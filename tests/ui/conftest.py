"""One server with a filled store and one browser for all browser tests; every page is watched for trouble."""

import os
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlparse

import pytest
from ui_sizes import WIDE

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "apps"))

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 60_000  # a page may take long on a busy machine; what is wrong shows all the same
SCREENSHOTS = Path(__file__).resolve().parent / "screenshots"


@pytest.fixture(scope="session")
def browser():
    """Chromium. Without one the tests are skipped on a laptop and fail where CI is set."""
    if not Path(CHROMIUM).exists():
        missing = f"there is no Chromium at {CHROMIUM}; the environment variable CHROMIUM names another"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(missing)
        pytest.skip(missing)
    sync_api = pytest.importorskip("playwright.sync_api")
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def _serve(store):
    from apps.serve import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve(port=port, store=store, show=False, threaded=True)
    for _ in range(600):  # threaded=True returns before the port is bound
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"http://127.0.0.1:{port}"
        time.sleep(0.1)
    raise TimeoutError("the server did not start")


@pytest.fixture(scope="session")
def papers():
    """The papers of the tests in the catalogue, as long as the servers run."""
    from example_store import PAPERS, TOY, named_studies

    with named_studies(PAPERS, TOY):
        yield
    import panel as pn

    pn.state.kill_all_servers()


@pytest.fixture(scope="session")
def store_path(tmp_path_factory, papers):
    """The path of the filled store."""
    from example_store import fill

    from workbench import store

    path = tmp_path_factory.mktemp("store")
    fill(path)
    store.sync(path)
    return path


@pytest.fixture(scope="session")
def url(store_path, browser):
    """Where the pages of the filled store are served."""
    return _serve(store_path)


@pytest.fixture(scope="session")
def empty_url(tmp_path_factory, papers, browser):
    """Where the pages of an empty store are served."""
    return _serve(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def open_page(browser):
    """Opens pages at a size; at the end no page may have had an error or asked anyone but this machine."""
    contexts, problems = [], []

    def watch(page):
        def asked(request):
            parts = urlparse(request.url)
            if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
                problems.append(f"asked outside: {request.url}")

        def failed(request):
            if request.failure != "net::ERR_ABORTED":  # what was still loading when the test left the page
                problems.append(f"failed: {request.url} ({request.failure})")

        page.on("request", asked)
        page.on("requestfailed", failed)
        page.on("response", lambda r: problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)

    def start(address, size=WIDE):
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, accept_downloads=True)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        watch(page)
        page.goto(address)
        page.locator("h1").first.wait_for()
        return page

    yield start
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def screenshot():
    """Keeps a picture of a page for people to look at."""

    def take(page, name):
        SCREENSHOTS.mkdir(exist_ok=True)
        page.wait_for_timeout(600)  # drawers and fonts come to rest; for people, nothing is asserted of it
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return take
