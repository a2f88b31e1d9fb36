"""What was compiled once is not compiled again: in this process, and in the next one."""

import os
import time

import pytest

from workbench import hardware, runner, store
from workbench.hardware import _cache
from workbench.study import Needs

TOML = """
[paper]
title = "A study that compiles"
authors = "Nobody"
year = 2026
link = "https://example.org"
summary = "It says how often the persistent compilation cache was hit."

[[claims]]
key = "sum"
statement = "A jitted sum is right."
source = "arithmetic"
published_text = "4950"
published = 4950.0
check = { kind = "exact" }
scale_published = { n = 100 }
scale_here = { n = 100 }
"""
STUDY = """
from collections import Counter
from dataclasses import dataclass

import jax
import jax.monitoring
import jax.numpy as jnp

from workbench.study import Outcome


@dataclass(frozen=True)
class Config:
    n: int = 100


PRESETS = {"quick": Config(), "full": Config()}


def run(config, log):
    events = Counter()
    jax.monitoring.register_event_listener(lambda name, **_: events.update([name.rpartition("/")[2]]))

    @jax.jit
    def total(x):  # long enough to compile that it is worth a file
        for i in range(150):
            x = jnp.sort(x) if i % 10 == 0 else x + jnp.sin(x) - jnp.sin(x)
        return x.sum()

    value = float(total(jnp.arange(config.n, dtype=jnp.float32)))
    log.log(hits=events["cache_hits"], misses=events["cache_misses"])
    return {"sum": Outcome(round(value), control=round(value) + 1)}
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)


def test_the_second_run_of_a_study_compiles_nothing_that_is_worth_a_file(tmp_path, monkeypatch):
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "compiles.toml").write_text(TOML, encoding="utf-8")
    (folder / "compiles.py").write_text(STUDY, encoding="utf-8")
    monkeypatch.setenv("WORKBENCH_STUDIES", str(folder))
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(_cache, "COMPILED_WORTH_S", 0.0)  # however fast this machine is
    runs = [runner.run(["compiles"])[0] for _ in range(2)]
    assert not any(run.code for run in runs), runs[0].error
    with store.open() as log:
        first, second = (log.metrics(run.run).to_dicts()[0] for run in runs)
    assert (first["hits"], second["misses"]) == (0, 0)
    assert first["misses"] == second["hits"] > 0
    assert list((tmp_path / "cache" / "compiled").iterdir())


def test_a_child_is_told_where_and_a_choice_of_the_users_stands(tmp_path, monkeypatch):
    told = runner.environment(Needs())
    assert told["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "cache" / "compiled")
    assert float(told["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]) == _cache.COMPILED_WORTH_S
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    assert runner.environment(Needs())["JAX_COMPILATION_CACHE_DIR"] == ""


def test_the_cache_folder_follows_the_convention(tmp_path, monkeypatch):
    assert hardware.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("WORKBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hardware.cache_folder() == tmp_path / "workbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert hardware.cache_folder().parts[-2:] == (".cache", "workbench")


def test_what_was_used_longest_ago_goes_when_it_is_full(tmp_path):
    for age in range(5):
        (tmp_path / f"{age}-cache").write_bytes(bytes(100))
        then = time.time() - 1000 * age
        os.utime(tmp_path / f"{age}-cache", (then, then))
    _cache._make_room(tmp_path, 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-cache", "1-cache"]
