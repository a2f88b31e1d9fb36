"""environment.yml is checked as data: conda itself, and the channel, are not needed."""

import re
import tomllib
from pathlib import Path

import pytest
import rattler
import yaml
from rattler.exceptions import InvalidMatchSpecError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())

# Where conda-forge's name differs from the Python package index's.
CONDA_NAMES = {"duckdb": "python-duckdb", "playwright": "playwright-python"}

REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[(?P<extras>[^\]]*)\])?\s*(?P<versions>[^;]*)(?P<marker>;.*)?$")


def wanted() -> dict[str, frozenset[str]]:
    """What pyproject.toml asks for: conda name to version clauses, the extra `dev` and those that it names included."""
    found: dict[str, frozenset[str]] = {"python": clauses(PROJECT["requires-python"]), "pip": frozenset()}
    waiting = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    while waiting:
        parts = REQUIREMENT.fullmatch(waiting.pop())
        assert parts is not None
        assert not parts["marker"], "a marker has no counterpart in environment.yml"
        if parts["name"] == PROJECT["name"]:
            waiting += [
                line for extra in parts["extras"].split(",") for line in PROJECT["optional-dependencies"][extra]
            ]
            continue
        assert parts["extras"] is None, f"{parts['name']}: extras have no counterpart in environment.yml"
        name = CONDA_NAMES.get(parts["name"], parts["name"])
        found[name] = found.get(name, frozenset()) | clauses(parts["versions"])
    return found


def clauses(versions: str) -> frozenset[str]:
    return frozenset(clause.strip() for clause in versions.split(",") if clause.strip())


def conda_specs() -> list[str]:
    return [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]


def test_file_has_exactly_these_keys() -> None:
    assert list(ENVIRONMENT) == ["name", "channels", "dependencies"]
    assert ENVIRONMENT["name"] == "workbench"
    assert ENVIRONMENT["channels"] == ["conda-forge"]


@pytest.mark.parametrize("text", conda_specs())
def test_each_spec_parses_strictly(text: str) -> None:
    spec = rattler.MatchSpec(text, strict=True)
    assert spec.name is not None
    assert spec.channel is None
    assert spec.build is None


def test_strict_parsing_refuses_a_broken_spec() -> None:
    for broken in ("jax>=0.10,<<0.11", "jax>=", "two words here and more"):
        with pytest.raises(InvalidMatchSpecError):
            rattler.MatchSpec(broken, strict=True)


def test_agrees_with_pyproject_both_ways() -> None:
    listed = {}
    for text in conda_specs():
        name = re.match(r"[A-Za-z0-9._-]+", text)
        assert name is not None
        assert name[0] not in listed, f"{name[0]} is listed twice"
        listed[name[0]] = clauses(text[name.end() :])
    assert listed == wanted()


def test_every_name_of_the_table_is_used() -> None:
    assert set(CONDA_NAMES.values()) <= set(wanted())


def test_pip_installs_only_the_workbench_itself() -> None:
    assert [entry for entry in ENVIRONMENT["dependencies"] if not isinstance(entry, str)] == [{"pip": ["-e ."]}]
