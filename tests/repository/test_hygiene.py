"""What must not stand in a tracked file: paths of one machine, addresses of package registries, pins without hashes."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Put together from parts, so that this file does not hold what it looks for.
MACHINE_FOLDERS = ("root", "work", "Users", "home")
REGISTRIES = (
    ".".join(("pypi", "org")),
    ".".join(("files", "pythonhosted", "org")),
    ".".join(("registry", "npmjs", "org")),
    ".".join(("conda", "anaconda", "org")),
    "-".join(("--index", "url")),
    "-".join(("--extra", "index", "url")),
    "-".join(("--find", "links")),
)
# An absolute path into somebody's folders: not the middle of a longer path or of a web address.
MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/(?:" + "|".join(MACHINE_FOLDERS) + r")/[\w.-]")

PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(\s*;[^\\]+?)?(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)$"
)


def tracked_texts() -> dict[str, str]:
    """The text files that git tracks or would track, by name."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    texts = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            contents = path.read_bytes()
            if b"\0" not in contents:
                texts[name] = contents.decode("utf-8")
    return texts


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return tracked_texts()


def complaints(name: str, text: str) -> list[str]:
    own = [str(path) for path in (ROOT, Path.home()) if len(path.parts) > 2]
    return [
        f"{name}:{number}: {line.strip()[:160]}"
        for number, line in enumerate(text.splitlines(), start=1)
        if MACHINE_PATH.search(line) or any(word in line for word in (*REGISTRIES, *own))
    ]


def test_the_listing_reaches_the_files(texts: dict[str, str]) -> None:
    assert {"pyproject.toml", "requirements.lock", "tests/repository/test_hygiene.py"} <= set(texts)
    assert not any(name.startswith(".venv/") for name in texts)


def test_no_machine_paths_and_no_registries(texts: dict[str, str]) -> None:
    found = [line for name, text in texts.items() for line in complaints(name, text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        *(f'open("/{folder}/someone/data.csv")' for folder in MACHINE_FOLDERS),
        f"cd /{MACHINE_FOLDERS[0]}/x",
        *(f"see {word} here" for word in REGISTRIES),
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert complaints("a.txt", f"first\n{line}\n") == [f"a.txt:2: {line}"]


@pytest.mark.parametrize("line", ["notebooks/work/a", "https://example.org/home/page", "~/work/x", "a / work / b"])
def test_the_search_leaves_other_paths_alone(line: str) -> None:
    assert complaints("a.txt", line) == []


def lock_entries(text: str) -> list[str]:
    """The requirements of a lock, one a line: comments dropped, continued lines joined."""
    kept = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return re.sub(r"\s*\\\n\s*", " ", "\n".join(kept)).splitlines()


def lock_faults(text: str) -> list[str]:
    return [entry[:80] for entry in lock_entries(text) if "://" in entry or not PIN.fullmatch(entry)]


def test_each_pin_of_the_lock_has_a_hash_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert len(lock_entries(text)) > 50
    assert not lock_faults(text)
    assert "://" not in text


@pytest.mark.parametrize(
    "fault",
    [
        "jax==0.10.2\n",
        "jax>=0.10 \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "jax==0.10.2 \\\n    --hash=sha256:" + "0" * 63 + "\n",
        "jax @ file:///wheels/jax.whl \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "-r other.txt\n",
    ],
)
def test_a_faulty_pin_is_seen(fault: str) -> None:
    sound = "numpy==2.4.6 ; python_version >= '3.11' \\\n    --hash=sha256:" + "a" * 64 + "\n    # via jax\n"
    assert not lock_faults(sound)
    assert len(lock_faults(sound + fault)) == 1
