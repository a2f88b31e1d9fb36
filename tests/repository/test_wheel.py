"""What `pip install dist/*.whl` gives: pages, notebooks, SQL, studies and tables inside, and a command that works."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built from the checkout and unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "dist")]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next((folder / "dist").glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def ask(installed, tmp_path, *words, code=0):
    """Run the installed package, far from the checkout."""
    env = os.environ | {"PYTHONPATH": str(installed), "XDG_DATA_HOME": str(tmp_path / "data")}
    for name in ("WORKBENCH_STORE", "WORKBENCH_STUDIES"):
        env.pop(name, None)
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("folder", "kinds"),
    [
        ("apps", ".py"),
        ("notebooks", ".ipynb"),
        ("store/sql", ".sql"),
        ("workbench/studies", ".py .toml"),
        ("workbench/data/published", ".csv"),
        ("workbench", ".typed"),
    ],
)
def test_everything_that_runs_is_inside(installed, folder, kinds):
    inside = {"apps": "workbench/_bundled/apps", "notebooks": "workbench/_bundled/notebooks"}
    inside |= {"store/sql": "workbench/_bundled/sql", "benchmarks/results": "workbench/_bundled/benchmarks"}
    for path in (ROOT / folder).iterdir():
        if path.suffix in kinds.split():
            assert (installed / inside.get(folder, folder) / path.name).read_bytes() == path.read_bytes()


def test_nothing_else_is_inside(installed):
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"workbench", "parallel_workbench"}
    assert not [path for path in installed.rglob("*") if path.suffix in (".duckdb", ".jsonl", ".png", ".lock")]


def test_the_command_works_far_from_a_checkout(installed, tmp_path):
    where = ask(installed, tmp_path, "-c", "import workbench; print(workbench.__file__)")
    assert str(installed) in where
    assert "pararnn" in ask(installed, tmp_path, "-m", "workbench.cli", "list")
    code = "from workbench import store\nwith store.run('mine') as run: run.log(loss=1.0)\n"
    code += "print(store.sync(), store.locate(), store.open().metrics(run.id)['loss'].to_list())"
    out = ask(installed, tmp_path, "-c", code)
    assert "[1.0]" in out
    assert str(tmp_path / "data") in out


def test_the_pages_load_from_inside_the_wheel(installed, tmp_path):
    code = "from workbench.commands.launching import pages; print(pages().__file__)"
    assert "_bundled" in ask(installed, tmp_path, "-W", "ignore", "-c", code)
    told = ask(installed, tmp_path, "-m", "workbench.cli", "dashboard", "--address", "0.0.0.0", code=2)
    assert "basic" in told
