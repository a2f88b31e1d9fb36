"""What is recorded of code, packages and machine; where a store lies; how little its import costs."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import store
from workbench.store import _facts, _paths


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout with one commit, as the working directory; returns `git(*words)`."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(_facts, "_git", {})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout

    git("init", "-q", "-b", "trunk")
    (folder / "code.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "-qm", "first")
    return git


def test_a_clean_checkout(root, checkout):
    with store.run("toy", path=root) as run:
        pass
    with store.open(root) as log:
        facts = log.details(run.id)["git"]
        assert facts == {
            "commit": checkout("rev-parse", "HEAD").strip(),
            "branch": "trunk",
            "dirty": False,
            "untracked": [],
        }
        assert log.artifact(run.id, "uncommitted.diff") is None
        row = log.runs().row(0, named=True)
        assert (row["git_commit"], row["git_dirty"]) == (facts["commit"], False)


def test_uncommitted_changes_are_kept(root, checkout):
    Path("code.py").write_text("x = 2\n")
    Path("with space é.py").write_text("new")
    Path("sub").mkdir()
    os.chdir("sub")
    with store.run("toy", path=root) as run:
        pass
    with store.open(root) as log:
        facts = log.details(run.id)["git"]
        assert facts["dirty"]
        assert facts["untracked"] == ["with space é.py"]
        diff = (log.artifact(run.id, "uncommitted.diff") or b"").decode()
    assert "-x = 1\n+x = 2\n" in diff
    (root.parent / "patch").write_text(diff)
    os.chdir("..")
    checkout("checkout", "code.py")
    checkout("apply", str(root.parent / "patch"))  # the code can be had again
    assert Path("code.py").read_text() == "x = 2\n"


def test_a_huge_diff_is_cut_and_says_so(root, checkout, monkeypatch):
    monkeypatch.setattr(_facts, "DIFF_LIMIT", 2000)
    monkeypatch.setattr(_facts._output, "__defaults__", (2000,))
    Path("code.py").write_text("".join(f"line {i}\n" for i in range(100_000)))
    with store.run("toy", path=root) as run:
        pass
    diff = (run.path / "artifacts" / "uncommitted.diff").read_text()
    assert len(diff) < 2200
    assert diff.endswith("[cut here: the output is longer than 2000 bytes]\n")
    assert json.loads((run.path / "run.json").read_text())["git"]["dirty"]


def test_without_a_commit_or_a_checkout(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_facts, "_git", {})
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with store.run("toy", path=root) as run:
        pass
    assert json.loads((run.path / "run.json").read_text())["git"] is None
    assert not (run.path / "artifacts").exists()
    monkeypatch.setattr(_facts, "_git", {})
    subprocess.run(["git", "init", "-q"], check=True)
    facts, diff = _facts.git()
    assert facts is not None
    assert facts["commit"] is None
    assert facts["dirty"]
    assert diff == b""
    monkeypatch.setattr(_facts, "_git", {})
    monkeypatch.setenv("PATH", "")
    assert _facts.git() == (None, b"")


def test_a_resume_under_other_code_is_recorded(root, checkout):
    with store.run("toy", path=root) as run:
        pass
    Path("code.py").write_text("x = 3\n")
    _facts._git.clear()
    with store.resume(run.id, root):
        pass
    assert b"+x = 3" in (run.path / "artifacts" / "uncommitted-2.diff").read_bytes()
    sessions = json.loads((run.path / "run.json").read_text())["sessions"]
    assert [session["git"]["dirty"] for session in sessions] == [False, True]


def test_packages_are_those_that_are_installed():
    """Names and versions agree with importlib.metadata, which takes a hundred times as long."""
    expected = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        expected.setdefault(name, distribution.version)
    found = {name.replace(".", "-"): version for name, version in _facts.packages().items()}
    assert found == expected


def test_the_machine():
    facts = _facts.machine()
    assert set(facts) == {"machine_id", "host", "os", "cpu", "cores", "memory_bytes", "gpus"}
    assert len(facts["machine_id"]) == 12
    assert 1 <= facts["cores"] <= os.cpu_count()
    assert facts["memory_bytes"] > 1e8
    assert facts["cpu"]


def test_gpus_are_asked_for(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _facts._gpus() == []
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 81559 MiB, 580.1'\necho\n")
    tool.chmod(0o755)
    assert _facts._gpus() == ["NVIDIA H100, 81559 MiB, 580.1"]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert _facts._gpus() == ["nvidia-smi failed: CalledProcessError"]


def test_the_command(monkeypatch):
    assert _facts.command_line("make it") == "make it"
    assert _facts.command_line(["python", "a b.py", "--x=1"]) == "python 'a b.py' --x=1"
    assert _facts.command_line([str(Path.cwd() / "sub" / "x.py"), "1"]) == "sub/x.py 1"
    assert _facts.command_line(["/somewhere/private/x.py"]) == "x.py"
    monkeypatch.setattr(sys, "argv", ["prog", "--lr", "0.1"])
    assert _facts.command_line() == "prog --lr 0.1"


def test_a_process_is_known_by_its_start(dead_pid):
    here = _facts.process()
    assert _facts.process_lives(here)
    assert not _facts.process_lives(here | {"pid_started": -1})
    assert not _facts.process_lives(here | {"pid": dead_pid})
    assert not _facts.process_lives({"pid": None})
    assert _facts.process_lives({"pid": 1, "pid_started": None})


def test_the_import_is_cheap():
    """Nothing heavy, so that the command answers at once and a run adds nothing to a script's start."""
    code = "import sys; from workbench import store; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"duckdb", "polars", "pyarrow", "numpy", "jax", "dataframely", "panel", "tensorboard", "sqlite3"}
    assert heavy & set(told.stdout.split()) == set()


def test_a_run_loads_nothing_heavy_either(root):
    code = "import sys; from workbench import store\n"
    code += f"with store.run('a', path={str(root)!r}) as run: run.log(x=1)\nprint(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"duckdb", "polars", "numpy"} & set(told.stdout.split()) == set()


def test_locate(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    inside = tmp_path / "repo" / "deep" / "er"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert store.locate() == tmp_path / "home" / ".local" / "share" / "workbench"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert store.locate() == tmp_path / "data" / "workbench"
    (tmp_path / "repo" / "deep" / "pyproject.toml").write_text('[project]\nname = "other"\n# not parallel-workbench\n')
    (tmp_path / "repo" / "pyproject.toml").write_text('[project]\nname = "parallel-workbench"\n')
    assert store.locate() == tmp_path / "repo" / "store"
    (tmp_path / "repo" / "deep" / "pyproject.toml").write_text("parallel-workbench = broken [")
    assert store.locate() == tmp_path / "repo" / "store"
    monkeypatch.setenv("WORKBENCH_STORE", "~/chosen")
    assert store.locate() == tmp_path / "home" / "chosen"
    assert store.locate("here") == inside / "here"
    with pytest.raises(ValueError, match="must hold no '\\?'"):
        store.locate("what?")
    assert not list((tmp_path / "home").rglob("*"))


def test_the_environment_variable_is_obeyed(root, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(root))
    with store.run("toy") as run:
        run.log(a=1.0)
    store.sync()
    with store.open() as log:
        assert log.path == root
        assert log.runs()["run_id"].to_list() == [run.id]


def test_run_ids_and_keys():
    assert _paths.is_run_id(_paths.new_run_id("my-study.v2"))
    key = _paths.run_key("20261124-093000-my-study-0a1b2c")
    assert key == ((1795512600 - 2**30) << 32) | 0x0A1B2C
    assert _paths.run_key("20261124-093001-a-000000") > key
    assert _paths.run_key("20261124-093000-a-ffffffff") < _paths.run_key("20261124-093001-a-00000000")
    assert -(2**63) < _paths.run_key("19700101-000000-a-00000000") < 0 < _paths.run_key("20711231-000000-a-ffffffff")
    assert _paths.run_key("20711231-000000-a-ffffffffffff") < 2**63
    assert not _paths.is_run_id(".new-20261124-093000-my-study-0a1b2c")
    with pytest.raises(ValueError, match="run_id: 'x' must look like"):
        _paths.run_key("x")
