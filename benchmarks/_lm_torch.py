"""The peer of `lm.py`: SmolLM2 by transformers and torch, from the same GGUF file, in an environment of its own."""

import importlib.metadata
import os
import time
from pathlib import Path
from typing import Any

import _wire as wire

CORES = wire.pin()

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

torch.set_num_threads(CORES)
FILE = Path(os.environ["LM_BENCHMARK_FILE"])
TOKENIZER = AutoTokenizer.from_pretrained(FILE.parent, gguf_file=FILE.name)
MODEL = AutoModelForCausalLM.from_pretrained(FILE.parent, gguf_file=FILE.name, dtype=torch.float32).eval()


def generate(tokens: list[int], steps: int) -> list[int]:
    """Greedy, exactly `steps` tokens, by the library's own cache."""
    given = torch.tensor([tokens])
    with torch.inference_mode():
        whole = MODEL.generate(
            given,
            attention_mask=torch.ones_like(given),
            do_sample=False,
            min_new_tokens=steps,
            max_new_tokens=steps,
            repetition_penalty=1.0,
            pad_token_id=0,
        )
    return whole[0, len(tokens) :].tolist()


def answers(case: dict) -> dict[str, Any]:
    """Tokens of each text, its greedy continuation, logits after it, and nats a token of the longest."""
    rows = {}
    for text in case["texts"]:
        tokens = TOKENIZER(text)["input_ids"]
        with torch.inference_mode():
            logits = MODEL(torch.tensor([tokens])).logits[0].double()
        told = torch.log_softmax(logits[:-1], -1)
        nats = -told.gather(1, torch.tensor(tokens[1:])[:, None]).mean()
        rows[text] = {
            "tokens": tokens,
            "nats": float(nats),
            "last_logits": logits[-1, :8].tolist(),
            "greedy": _greedy(tokens, case["steps"]),
        }
    return rows


def _greedy(tokens: list[int], steps: int) -> list[int]:
    """Without a cache and without the library's rules for sampling: the likeliest token, every time."""
    text = list(tokens)
    with torch.inference_mode():
        for _ in range(steps):
            text.append(int(MODEL(torch.tensor([text])).logits[0, -1].argmax()))
    return text[len(tokens) :]


def make(method: str, case: dict) -> tuple[Any, dict]:
    """ "answers" tells what the model says, "decode" times a greedy continuation."""
    if method == "answers":
        return lambda: None, {"answers": answers(case)}
    began = time.perf_counter()
    generate(case["tokens"], case["steps"])
    told = {"first_s": time.perf_counter() - began}
    return lambda: generate(case["tokens"], case["steps"]), told


if __name__ == "__main__":
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "gguf")}
    wire.serve(make, {"cores": CORES, "threads": torch.get_num_threads(), **versions})
