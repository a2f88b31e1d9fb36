"""How the pages are served: this machine only unless users are authenticated; the layers below know no browser."""

import re
import subprocess
import sys

import pytest

from apps import shell
from apps.serve import keep_synced, serve, settings
from apps.source import Source
from workbench import store


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.0.7", "example.org", ""])
@pytest.mark.parametrize("given", [{}, {"basic_auth": "users.json"}, {"cookie_secret": "x"}])
def test_another_address_needs_users_and_a_secret(address, given):
    with pytest.raises(ValueError, match=r"address: .*--basic-auth FILE and --cookie-secret"):
        serve(address=address, show=False, **given)


def test_a_file_of_users_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="basic_auth"):
        settings(5006, "0.0.0.0", tmp_path / "nobody.json", "secret")
    users = tmp_path / "users.json"
    users.write_text('{"me": "pw"}')
    chosen = settings(5006, "0.0.0.0", users, "secret")
    assert chosen["basic_auth"] == str(users)
    assert chosen["cookie_secret"] == "secret"


def test_the_websocket_is_open_to_this_host_and_port_alone():
    assert settings(5006, "127.0.0.1")["websocket_origin"] == ["127.0.0.1:5006"]
    with pytest.raises(ValueError, match="port"):
        settings(0, "127.0.0.1")


def test_source_and_states_load_no_panel():
    named = ("claims_state", "runs_state", "compare_state", "store_state", "rnn_state", "rnn_lab", "scaling_state")
    states = ", ".join(f"apps.{name}" for name in named)
    code = f"import sys, {states}; assert not {{'panel', 'bokeh', 'jax'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ended_runs_come_into_the_catalogue_by_themselves(tmp_path):
    with store.run("idea", path=tmp_path) as run:
        run.log(loss=1.0)
    source = Source(tmp_path)
    assert source.log.live == [run.id]
    stop = keep_synced(tmp_path, every_s=0.05)
    try:
        for _ in range(1200):
            if source.log.refresh() and source.log.generation:
                break
            stop.wait(0.05)
    finally:
        stop.set()
    assert source.log.generation == 1
    assert source.log.live == []
    source.log.close()


def test_the_version_grows_when_and_only_when_something_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr("apps.source.CHECK_EVERY_S", 0)
    source = Source(tmp_path)
    assert source.refresh() == source.refresh() == 0
    with store.run("idea", path=tmp_path) as run:
        run.log(loss=1.0)
        grown = source.refresh()
        assert grown > 0
        assert source.runs()["status"].to_list() == ["running"]
        run.log(loss=0.5)
        assert source.refresh() > grown
    source.log.close()


def test_every_page_stands_in_the_navigation_once_and_the_open_one_is_marked():
    for url in shell.PAGES:
        menu = shell._navigation(url)
        assert sorted(re.findall(r'<a href="([^"]+)"', menu)) == sorted(shell.PAGES)
        assert re.findall(r'href="([^"]+)" aria-current=page', menu) == [url]
    assert menu.index("Does it work?") < menu.index("Parallel RNNs") < menu.index("What does it cost?")
