"""Serves the pages on this machine. Another address needs authentication; no request leaves the machine."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn

from apps import claims, compare, rnn, runs, scaling, scoreboard, store_page
from apps.shell import PAGES
from apps.source import Source
from workbench import store as stores

LOCAL = ("127.0.0.1", "localhost", "::1")
SYNC_EVERY_S = 10.0
TITLES = {"/": PAGES["./"]} | {f"/{url}": name for url, name in PAGES.items() if url != "./"}


def applications(path: str | Path | None = None) -> dict[str, Callable[[], Any]]:
    """The pages by URL; each is made anew for a session, over one source for all of them."""
    source = Source(path)
    pages: dict[str, Any] = {"/": scoreboard, "/claims": claims, "/rnn": rnn, "/scaling": scaling, "/runs": runs}
    pages |= {"/compare": compare, "/store": store_page}
    # Panel calls plain functions and nothing else
    return {url: (lambda create=module.create: create(source)) for url, module in pages.items()}


def settings(
    port: int, address: str, basic_auth: str | Path | None = None, cookie_secret: str | None = None
) -> dict[str, Any]:
    """What the server is started with. Raises `ValueError` for an open address without authentication."""
    if not 0 < port < 65536:
        raise ValueError(f"port: {port!r} must be a number from 1 to 65535")
    if address not in LOCAL and not (basic_auth and cookie_secret):
        raise ValueError(
            f"address: {address!r} can be reached from other machines; it needs --basic-auth FILE and --cookie-secret "
            "SECRET, or leave it out to serve this machine only (127.0.0.1)"
        )
    if basic_auth and not Path(basic_auth).is_file():
        raise FileNotFoundError(f"basic_auth: {str(basic_auth)!r} must be a file with user names and passwords")
    host = f"[{address}]" if ":" in address else address
    return {
        "port": port,
        "address": address,
        "websocket_origin": [f"{host}:{port}"],
        "unused_session_lifetime": 60_000,
        **({"basic_auth": str(basic_auth)} if basic_auth else {}),
        **({"cookie_secret": cookie_secret} if cookie_secret else {}),
    }


def serve(
    port: int = 5006,
    address: str = "127.0.0.1",
    store: str | Path | None = None,
    basic_auth: str | Path | None = None,
    cookie_secret: str | None = None,
    show: bool = True,
    threaded: bool = False,
) -> Any:
    """Serve the pages until interrupted, or in a thread; returns the server then.

    Listens on `address` and answers only to it. Raises `ValueError` for an address that other machines can reach,
    unless a file of users and a secret for their cookies are given.
    """
    chosen = settings(port, address, basic_auth, cookie_secret)
    keep_synced(store)
    pages: Any = applications(store)
    titles: Any = {url: f"{TITLES[url]} · Parallel workbench" for url in pages}
    return pn.serve(pages, title=titles, show=show, threaded=threaded, index=None, **chosen)


def keep_synced(path: str | Path | None, every_s: float = SYNC_EVERY_S) -> threading.Event:
    """Bring ended runs into the catalogue now and then, in one thread for the server; set the event to end it."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(every_s):
            stores.sync(path, wait=False)

    threading.Thread(target=work, name="store-sync", daemon=True).start()
    return stop
