"""The command, from outside: what people type and what they get."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench import expected, runner, store, studies
from workbench.commands import doctor
from workbench.study import Needs

TOY = Path(__file__).parent / "toy"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A 57th paper: two files in a folder of their own, and an empty store."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in ("amdahl.toml", "amdahl.py"):
        (folder / name).write_text((TOY / name).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setenv("WORKBENCH_STUDIES", str(folder))
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store"))
    return folder


def workbench(*words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli", *words], capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def test_help_loads_nothing_heavy():
    """Its speed is measured in benchmarks/command.py; here, that nothing that costs seconds is imported."""
    heavy = "('jax', 'panel', 'polars', 'duckdb', 'scipy', 'numpy')"
    code = f"import sys; from workbench import cli; assert not set({heavy}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "reproduce" in workbench("--help")[0]


def test_a_paper_of_two_files_goes_through_every_room(toy):
    out, _ = workbench("list")
    assert "amdahl" in out
    rows = json.loads(workbench("reproduce", "amdahl", "--json")[0])
    assert [row["claim"] for row in rows] == ["limit", "mainframe"]
    assert (rows[0]["verdict"], rows[0]["negative_control_failed"]) == ("reproduced", True)
    assert (rows[1]["verdict"], rows[1]["verdict_reason"]) == ("not testable", "needs the machine")
    assert 19.5 < rows[0]["measured"] < 19.7
    assert rows[0]["published_text"] == "19.6x"
    assert "amdahl" in workbench("runs")[0]
    shown, _ = workbench("show", "amdahl")
    assert "Amdahl" in shown
    assert "reproduced" in shown


def test_a_paper_is_shown_with_what_cites_it(toy):
    """As CITATION.cff says; square brackets in it are text."""
    bibtex = "@inproceedings{amdahl1967, title = {Validity [of an approach]}, year = {1967}}"
    file = toy / "amdahl.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("[paper]", f'[paper]\nbibtex = "{bibtex}"'))
    assert bibtex in workbench("show", "amdahl")[0]


def test_tampering_with_a_published_value_turns_the_verdict(toy):
    workbench("reproduce", "amdahl", "--json")
    file = toy / "amdahl.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("published = 19.6", "published = 29.6"), encoding="utf-8")
    rows = json.loads(workbench("reproduce", "amdahl", "--json")[0])
    assert rows[0]["verdict"] == "contradicted"
    assert "contradicted" in workbench("show", "amdahl")[0]


def test_strict_compares_with_the_accepted_verdicts_in_both_directions(toy):
    workbench("reproduce", "amdahl", "--accept")
    assert expected.read("amdahl") == {"limit": {"verdict": "reproduced", "control_failed": True}}
    workbench("reproduce", "amdahl", "--strict")
    file = toy / "amdahl.expected.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("reproduced", "contradicted"), encoding="utf-8")
    _, err = workbench("reproduce", "amdahl", "--strict", code=3)
    assert "amdahl.limit: expected contradicted" in err.replace("\n", " ")


def test_what_a_full_run_has_found_is_shown_beside_a_quick_one(toy):
    for file, old, new in (
        (toy / "amdahl.toml", "check =", 'preset = "full"\ncheck ='),
        (toy / "amdahl.py", "    for step", "    if config.tasks < 1_000_000:\n        return {}\n    for step"),
    ):
        file.write_text(file.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    assert "untested" in workbench("reproduce", "amdahl")[0]
    workbench("reproduce", "amdahl", "--preset", "full")
    assert "reproduced" in workbench("reproduce", "amdahl")[0]
    assert json.loads(workbench("reproduce", "amdahl", "--json")[0])[0]["verdict"] == "untested", "of this very run"


def test_a_full_run_that_crashes_does_not_show_what_an_earlier_one_has_found(toy):
    assert "reproduced" in workbench("reproduce", "amdahl")[0]
    code = (toy / "amdahl.py").read_text(encoding="utf-8")
    (toy / "amdahl.py").write_text(code.replace("    for step", "    raise RuntimeError('no luck')\n    for step"))
    out, _ = workbench("reproduce", "amdahl", "--preset", "full", code=1)
    assert "untested" in out
    assert "reproduced" not in out


def test_a_crash_is_told_kept_and_exits_with_1(toy):
    code = (toy / "amdahl.py").read_text(encoding="utf-8")
    (toy / "amdahl.py").write_text(code.replace("    for step", "    raise RuntimeError('no luck')\n    for step"))
    out, err = workbench("reproduce", "amdahl", "--json", code=1)
    assert "no luck" in err
    assert json.loads(out)[0]["verdict"] == "untested"
    assert "failed" in workbench("runs", "--status", "failed")[0]


def test_resume_leaves_out_what_is_finished(toy):
    runner.run(["amdahl"])
    before = runner.run(["amdahl"])[0]
    again = runner.run(["amdahl"], resume=True)[0]
    assert (again.run, again.seconds) == (before.run, 0.0)


def test_resume_knows_a_study_whose_config_has_a_batch_of_its_own(toy):
    """The size of a batch is not the name of a batch of studies, and both are recorded."""
    code = (toy / "amdahl.py").read_text(encoding="utf-8")
    (toy / "amdahl.py").write_text(
        code.replace("    tasks: int", "    batch: int = 8\n    tasks: int"), encoding="utf-8"
    )
    for ending in ("toml", "py"):
        (toy / f"gustafson.{ending}").write_text((toy / f"amdahl.{ending}").read_text(encoding="utf-8"))
    first = runner.run(["amdahl"])[0]
    both = {finished.job.slug: finished for finished in runner.run(["amdahl", "gustafson"], resume=True)}
    assert both["amdahl"].run == first.run
    assert both["gustafson"].code == 0
    assert both["gustafson"].job.batch == first.job.batch
    configs = [json.loads(config) for config in store.open().runs()["config"]]
    assert [(config["batch"], config["batch_id"]) for config in configs] == [(8, first.job.batch)] * 2


@pytest.mark.parametrize("group", [True, False], ids=["from the terminal", "to the command alone"])
def test_an_interrupt_keeps_what_finished(toy, group):
    code = (toy / "amdahl.py").read_text(encoding="utf-8")
    slow = code.replace(
        "    return {", "    log.progress(1, 2, 'waiting')\n    [time.sleep(0.05) for _ in range(2000)]\n    return {"
    )
    (toy / "amdahl.py").write_text(slow.replace("from dataclasses", "import time\nfrom dataclasses"), encoding="utf-8")
    words = [sys.executable, "-m", "workbench.cli", "reproduce", "amdahl"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as command:
        _wait_for(lambda: store.open().runs().height and store.open().runs()["n_rows"].sum() == 6)
        (os.killpg if group else os.kill)(command.pid, signal.SIGINT)
        told = command.communicate(timeout=180)[0].decode()
    assert command.returncode == 130
    assert "--resume" in told
    run = store.open().runs().to_dicts()[0]
    assert (run["status"], run["n_rows"]) == ("interrupted", 6)


def _wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError("it did not happen")


@pytest.mark.filterwarnings("default")  # Dask's own
def test_a_dask_cluster_runs_the_same_call(toy):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        rows = runner.reproduce(["amdahl"], cluster=cluster.scheduler_address)
    assert rows["verdict"].to_list() == ["reproduced", "not testable"]


def test_compare_names_only_what_differs(toy):
    ids = [runner.run(["amdahl"], preset=preset)[0].run for preset in ("quick", "full")]
    out, _ = workbench("compare", *ids)
    assert "tasks" in out
    assert "2000000" in out
    assert "serial_share" not in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "pararn"], "did you mean pararnn"),
        (["reproduce", "pararnn", "--jobs", "0"], "jobs: 0 must be at least 1"),
        (["compare", "aaa", "bbb"], "run: 'aaa' fits 0 runs"),
        (["dashboard", "--address", "0.0.0.0"], "basic"),
    ],
)
def test_a_mistake_ends_with_one_sentence(toy, words, told):
    _, err = workbench(*words, code=2)
    assert told in err
    assert "Traceback" not in err


def test_store_commands(toy, tmp_path):
    workbench("reproduce", "amdahl", "--json")
    for words in (["sync"], ["check"], ["rebuild"], ["export", str(tmp_path / "out")]):
        assert workbench("store", *words)[0]
    assert (tmp_path / "out" / "results.parquet").exists()


def test_report(toy, tmp_path):
    workbench("reproduce", "amdahl", "--json")
    workbench("report", "amdahl", "--html", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "19.6x" in page
    assert "reproduced" in page
    for outside in ("http-equiv", "<script", 'src="http', "@import"):
        assert outside not in page


def test_the_environment_of_a_child_is_what_the_study_needs(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--kept=1")
    env = runner.environment(Needs(devices=4, x64=True, xla_flags=("--asked=2",)))
    assert env["XLA_FLAGS"].split() == ["--kept=1", "--asked=2", "--xla_force_host_platform_device_count=4"]
    assert env["JAX_ENABLE_X64"] == "1"
    assert runner.lacking(Needs(extras=("dev",))) == []
    monkeypatch.setattr(runner.shutil, "which", lambda name: None)
    assert "GPU" in runner.lacking(Needs(gpu=True))[0]


def test_doctor_says_what_to_install(toy, monkeypatch):
    monkeypatch.setattr(doctor, "_EXTRAS", {"app": ["no_such_module"]})
    with contextlib.redirect_stdout(io.StringIO()) as told:
        doctor.command(None)
    assert "pip install 'parallel-workbench[app]'" in " ".join(told.getvalue().split())


def test_doctor_finds_a_broken_study(toy):
    assert "study amdahl" in workbench("doctor")[0]
    (toy / "amdahl.toml").write_text("[paper]\n")
    assert "amdahl.toml" in workbench("doctor", code=1)[0]


def test_folders_of_studies_must_exist(monkeypatch):
    monkeypatch.setenv("WORKBENCH_STUDIES", os.pathsep.join(["/no/such/folder"]))
    with pytest.raises(FileNotFoundError, match="WORKBENCH_STUDIES"):
        studies.find()
