"""A measured process and its wire: one JSON object a line, so that processes of several environments can take turns.

A child answers {"do": "make", "key", "method", "case"} (build and compile; what it took), {"do": "run", "key",
"calls"} (seconds of that many calls) and {"do": "drop"} (forget all). Standard library only: it runs in every
environment.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

LONG_S = 8.0
"""Seconds of a call above which it is not made again: it is the measurement."""


class Refused(Exception):
    """A method does not measure this case, for a reason that is worth a line."""


class Child:
    """A process that measures. `ask` waits for its answer; past its deadline the process is ended, and started anew."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], cores: int, log: Path) -> None:
        self._command, self._environment, self._log = list(command), dict(environment), log
        self._cores = str(cores)
        self._process: subprocess.Popen[str] | None = None
        self.hello: dict[str, Any] = {}

    def start(self) -> None:
        """Start, and keep what the child says of itself in `hello`. Raises Refused if it does not come up."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=os.environ | self._environment | {"RNN_BENCHMARK_CORES": self._cores},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
            )
        self.hello = self._answer(120)

    def ask(self, within_s: float, **question: Any) -> dict[str, Any]:
        """The answer; raises Refused with the reason if there is none."""
        if self._process is None:
            self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        answer = self._answer(within_s)
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer

    def _answer(self, within_s: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], within_s)[0]:
            self.close()
            raise Refused(f"given up after {within_s:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            self.close()
            told = self._log.read_text(errors="replace").strip().splitlines()
            raise Refused(f"its process ended: {told[-1] if told else 'without a word'}")
        return json.loads(line)

    @property
    def alive(self) -> bool:
        """Whether there is a process, with what it has made."""
        return self._process is not None

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None


def pin() -> int:
    """Bind this process to its cores, before any library counts them; the number of cores it got."""
    cores = int(os.environ["RNN_BENCHMARK_CORES"])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    return cores


def serve(make: Callable[[str, dict], tuple[Callable[[], Any], dict]], hello: dict) -> None:
    """Answer until the parent is gone. `make(method, case)` -> (what to time, what to tell), or raises Refused.

    Ctrl-C is the parent's business: when it ends, the wire ends, and so does this. What libraries print goes to stderr.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wire = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    made: dict[str, Callable[[], Any]] = {}
    wire.write(json.dumps(hello) + "\n")
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = _answer(question, made, make)
        except Refused as refusal:
            answer = {"refused": str(refusal)}
        except Exception as error:  # a method that fails is a result: it is told, in its words
            words = str(error).splitlines()
            answer = {"refused": f"{type(error).__name__}: {words[0][:300] if words else ''}"}
        wire.write(json.dumps(answer) + "\n")


def _answer(question: dict, made: dict, make: Callable) -> dict:
    if question["do"] == "drop":
        made.clear()
        return {}
    if question["do"] == "run":
        return {"seconds": seconds(made[question["key"]], question["calls"])}
    work, told = make(question["method"], question["case"])
    made[question["key"]] = work
    first_s = told.get("first_s", 0.0)
    return told | {"second_s": first_s if first_s > LONG_S else seconds(work, 1)}


def seconds(work: Callable[[], Any], calls: int) -> float:
    """Wall seconds of `calls` calls; `work` returns when its result is there."""
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return time.perf_counter() - began
