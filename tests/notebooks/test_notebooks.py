"""The notebooks run from top to bottom in fresh kernels, are stripped, and equal their percent scripts."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
EVIDENCE = FOLDER.parent / "store" / "evidence"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def kernel_environment(tmp_path_factory):
    """What a user's kernel has: a store with the committed evidence, default precision, the CPU."""
    store = tmp_path_factory.mktemp("notebooks") / "store"
    shutil.copytree(EVIDENCE, store / "evidence")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_STORE", str(store))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.delenv("JAX_ENABLE_X64", raising=False)
        yield


@pytest.mark.filterwarnings("default")  # the kernel's own libraries warn as they like
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_draws(name, kernel_environment):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert not [output for output in outputs if output.output_type == "error"]
    assert "image/svg+xml" in kinds, "the signature plot"
    assert "application/vnd.holoviews_exec.v0+json" in kinds, "an interactive figure"
    assert not [o for o in outputs if o.output_type == "stream" and "Traceback" in o.text]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_committed_without_outputs(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not [cell for cell in code if cell.outputs or cell.execution_count is not None]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_equals_its_script(name):
    notebook, script = (jupytext.read(FOLDER / f"{name}{ending}") for ending in (".ipynb", ".py"))
    cells = [[(cell.cell_type, cell.source) for cell in one.cells] for one in (notebook, script)]
    assert cells[0] == cells[1], "run: jupytext --sync notebooks/*.ipynb"


@pytest.mark.filterwarnings("default")
def test_jupyterlab_starts_and_its_kernel_answers(tmp_path):
    """`workbench lab`: the server lists the notebooks, and a kernel started through it computes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {"JUPYTER_TOKEN": "secret", "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_PLATFORM_DIRS": "1"}
    words = [sys.executable, "-m", "workbench.cli", "lab", "--no-open", "--port", str(port)]
    if os.geteuid() == 0:
        (tmp_path / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"allow_root": True}}))
    server = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        contents = _when_up(f"http://127.0.0.1:{port}/api/contents?token=secret")
        assert {f"{name}.ipynb" for name in NAMES} <= {item["name"] for item in contents["content"]}
        assert b"JupyterLab" in urllib.request.urlopen(f"http://127.0.0.1:{port}/lab?token=secret", timeout=120).read()
        started = urllib.request.Request(f"http://127.0.0.1:{port}/api/kernels?token=secret", data=b"{}", method="POST")
        with urllib.request.urlopen(started, timeout=120) as answer:
            kernel = json.load(answer)
        assert _answers(port, kernel["id"])
    finally:
        server.terminate()
        server.wait(timeout=120)


def _when_up(url):
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)
        except OSError:  # not listening yet
            time.sleep(0.25)
    raise TimeoutError(f"no answer from {url}")


def _answers(port, kernel):
    """Ask the kernel for 6 * 7 over its websocket."""
    import websocket

    header = {
        "msg_id": "1",
        "session": "s",
        "username": "",
        "version": "5.3",
        "msg_type": "execute_request",
        "date": "",
    }
    content = {"code": "print(6 * 7)", "silent": False, "store_history": False, "user_expressions": {}}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    url = f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels?token=secret"
    connection = websocket.create_connection(url, timeout=120)
    try:
        connection.send(json.dumps(request))
        while True:
            message = json.loads(connection.recv())
            if message["header"]["msg_type"] == "stream":
                return message["content"]["text"] == "42\n"
    finally:
        connection.close()
