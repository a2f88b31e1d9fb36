"""What is recorded of the world that a run ran in: code, packages, machine, use of it. Read once, cheaply."""

import hashlib
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from workbench.store._paths import names

DIFF_LIMIT = 1 << 20  # bytes of uncommitted diff that a run keeps
_FRESH_S = 5.0  # how long one look at the checkout serves: many short runs, yet not a whole notebook session
_RUSAGE_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB on Linux

_git: dict[str, tuple[float, dict[str, Any] | None, bytes]] = {}


def git() -> tuple[dict[str, Any] | None, bytes]:
    """({commit, branch, dirty, untracked}, the uncommitted diff) of the checkout around the working directory.

    (None, b"") outside a checkout. The diff ends with a line that says so when it was cut at `DIFF_LIMIT`.
    """
    here = os.getcwd()  # noqa: PTH109 (only a key)
    kept = _git.get(here)
    if kept is None or time.monotonic() - kept[0] > _FRESH_S:
        kept = _git[here] = (time.monotonic(), *_look_at_checkout())
    return kept[1], kept[2]


def _look_at_checkout() -> tuple[dict[str, Any] | None, bytes]:
    if shutil.which("git") is None:
        return None, b""
    status = _start("status", "--porcelain=v1", "--branch", "--untracked-files=normal", "-z")
    head = _start("rev-parse", "HEAD")
    diff = _start("diff", "HEAD", "--no-color", "--no-ext-diff")
    text, commit, patch = _output(status), _output(head), _output(diff, DIFF_LIMIT)
    if status.returncode != 0:
        return None, b""
    entries = text.decode(errors="replace").split("\0")
    branch = entries[0].removeprefix("## ").split("...")[0]
    changes = [entry for entry in entries[1:] if entry]
    untracked = [entry[3:] for entry in changes if entry.startswith("?? ")]
    facts = {
        "commit": commit.decode().strip() if head.returncode == 0 else None,
        "branch": branch,
        "dirty": bool(changes),
        "untracked": untracked[:1000],
    }
    return facts, patch if head.returncode == 0 else b""


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    """A git command that takes no lock, so that it never disturbs what the user does in the checkout."""
    return subprocess.Popen(
        ["git", "--no-optional-locks", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def _output(process: subprocess.Popen[bytes], limit: int = DIFF_LIMIT) -> bytes:
    with process:
        assert process.stdout is not None
        data = process.stdout.read(limit + 1)
        if len(data) > limit:
            process.kill()
            data = data[:limit].rsplit(b"\n", 1)[0] + b"\n[cut here: the output is longer than %d bytes]\n" % limit
            process.wait()
            process.returncode = 0  # git was stopped by us, after it had said enough
    return data


@cache
def packages() -> dict[str, str]:
    """Every installed distribution and its version, from the names of the metadata folders on `sys.path`."""
    found: dict[str, str] = {}
    for entry in reversed(sys.path):  # the first on the path is the one that is imported
        for name in names(Path(entry or ".")) if not entry.endswith(".zip") else []:
            stem, dot, kind = name.rpartition(".")
            if dot and kind in ("dist-info", "egg-info") and "-" in stem:
                distribution, version = stem.split("-")[:2]
                found[distribution.lower().replace("_", "-")] = version
    return dict(sorted(found.items()))


@cache
def machine() -> dict[str, Any]:
    """The machine: a hash that names it, host, system, CPU, cores that this process may use, memory, GPUs."""
    affinity = getattr(os, "sched_getaffinity", None)
    facts = {
        "host": host(),
        "os": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "gpus": _gpus(),
    }
    named = repr([facts[name] for name in ("host", "cpu", "cores", "memory_bytes", "gpus")])
    return {"machine_id": hashlib.sha256(named.encode()).hexdigest()[:12], **facts}


def host() -> str:
    """The name that this host gives itself."""
    return os.uname().nodename


def load_avg() -> float | None:
    """Processes that ran or waited, averaged over the last minute."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:  # some containers have none
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Hardware", "cpu model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Name and memory of each NVIDIA GPU; empty where there is no `nvidia-smi`."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        return [f"nvidia-smi failed: {type(error).__name__}"]
    return [line.strip() for line in told.stdout.splitlines() if line.strip()]


def command_line(argv: Sequence[str] | str | None = None) -> str:
    """The command of this process as one would type it; the folder of the program is left out."""
    if isinstance(argv, str):
        return argv
    words = list(sys.argv if argv is None else argv) or [""]
    program = Path(words[0])
    if program.is_absolute():
        inside = program.is_relative_to(Path.cwd())
        words[0] = str(program.relative_to(Path.cwd())) if inside else program.name
    return shlex.join(words)


def process() -> dict[str, Any]:
    """Which process writes a run: its host, its pid, and when the system started it (a pid may be given again)."""
    return {"host": host(), "pid": os.getpid(), "pid_started": started_ticks(os.getpid())}


def started_ticks(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None where the system does not tell or it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def process_lives(facts: dict[str, Any]) -> bool:
    """Whether the process that `process()` described still runs on this host."""
    pid = facts.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and belongs to somebody else
    recorded, now = facts.get("pid_started"), started_ticks(pid)
    return recorded is None or now is None or recorded == now


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_memory_bytes() -> int:
    """The larger of the peak resident memories of this process and of its largest ended child."""
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usages) * _RUSAGE_UNIT
