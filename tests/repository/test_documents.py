"""What the documents show must run as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(name):
    return BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


FIRST_WORDS = ("shape: (", "converged [3 3 3 3 3 3 3 3]", "Newton(", " Paris.")


@pytest.mark.parametrize(("index", "told"), list(enumerate(FIRST_WORDS)))
def test_the_blocks_of_the_readme_run_in_a_fresh_process_in_default_precision(index, told, tmp_path):
    """A user's script: no main guard, no 64-bit floats, an empty store."""
    script = tmp_path / "block.py"
    script.write_text(blocks("README.md")[index], encoding="utf-8")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "WORKBENCH_STORE": str(tmp_path / "store")}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(told)


COMMAND = re.compile(r"""(?:[`"'>]|^ {4,})workbench ([a-z]+)""", re.MULTILINE)


def test_every_command_that_a_page_or_a_document_names_exists():
    commands = set(re.findall(r'subcommand\("(\w+)"\)', (ROOT / "workbench" / "cli.py").read_text(encoding="utf-8")))
    files = [*ROOT.glob("*.md"), ROOT / "CITATION.cff"]
    files += [file for folder in ("apps", "workbench") for file in (ROOT / folder).rglob("*.py")]
    named = {(file.name, word) for file in files for word in COMMAND.findall(file.read_text(encoding="utf-8"))}
    assert {word for _, word in named} >= {"reproduce", "dashboard", "show", "store"}
    assert not [(name, word) for name, word in sorted(named) if word not in commands]


def test_the_tour_opens_with_the_same_blocks():
    tour = (ROOT / "notebooks" / "00_tour.py").read_text(encoding="utf-8")
    for block in blocks("README.md"):
        assert block in tour


@pytest.mark.parametrize("name", ["amdahl.toml", "amdahl.py"])
def test_the_example_of_contributing_is_the_toy_that_the_tests_run(name):
    toy = (ROOT / "tests" / "toy" / name).read_text(encoding="utf-8")
    assert toy in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
