"""What the documents show must run as it stands."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from workbench import display, expected, studies

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


def scoreboard() -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """The README's: {(paper, claim): the line} and {paper: the line that counts its other claims}."""
    part = (ROOT / "README.md").read_text(encoding="utf-8").split("## The scoreboard")[1].split("\nEvidence:")[0]
    lines = [line.strip() for line in part.splitlines() if re.match(r"    [a-z0-9-]+  +[a-z]", line)][1:]
    words = {line: line.split() for line in lines}
    return (
        {(paper, claim): line for line, (paper, claim, *_) in words.items() if claim != "and"},
        {paper: line for line, (paper, claim, *_) in words.items() if claim == "and"},
    )


@pytest.mark.parametrize("slug", [path.stem for path in sorted((ROOT / "workbench" / "studies").glob("[a-z]*.py"))])
def test_the_scoreboard_of_the_readme_shows_every_paper_as_it_was_accepted(slug):
    """Claims of the quick study: one line each, or counted by verdict in a last line. After `--accept`, it follows."""
    claims = {claim.key: claim for claim in studies.claims(slug)[1] if claim.tested and claim.preset == "quick"}
    accepted = {key: facts["verdict"] for key, facts in expected.read(slug).items() if key in claims}
    lines, others = scoreboard()
    shown = {claim: line for (paper, claim), line in lines.items() if paper == slug}
    assert shown
    for key, line in shown.items():
        assert f" {claims[key].published_text.split()[0]} " in line
        if not claims[key].timing:
            assert line.endswith(display.verdict_text(accepted[key]))
    counts = Counter(verdict for key, verdict in accepted.items() if key not in shown)
    told = ", ".join(f"{counts[name]} {display.verdict_text(name)}" for name in display.VERDICTS if name in counts)
    assert others.get(slug, "") == (f"{slug}  and {counts.total()} more: {told}" if counts else "")


def test_the_map_of_the_readme_shows_every_room():
    rooms = [path.parent.name for path in (ROOT / "workbench").glob("*/__init__.py") if path.parent.name[0] != "_"]
    part = (ROOT / "README.md").read_text(encoding="utf-8").split("## A map of the rooms")[1]
    assert {"rnn", "study", "store"} < set(rooms)
    assert [room for room in rooms if f"`workbench/{room}/`" not in part and f"`{room}/`" not in part] == []


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
