"""The peers' environments: how they are made, and how their processes are started.

They lie outside of this project's lock: torch is large, and DEER and ELK are no packages of a registry.
"""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TORCH = ("torch==2.13.0", "pararnn-torch==0.17.4")
JAX_PEERS = ("optimistix==0.1.0", "equinox", "dynamax==1.0.3")
SOURCES = {
    "deer": ("https://github.com/machine-discovery/deer", "409140ff98d2426e49090e3552a63da10d9cd6dc"),
    "elk": ("https://github.com/lindermanlab/elk", "58782bd07a58c28b48c651ac9bd9ac2fec527d58"),
}
"""Where and which commit; only their package folders are checked out, their data is large."""


def default() -> Path:
    """The folder of the peers: WORKBENCH_PEERS, else `.peers` in the checkout (git ignores it)."""
    return Path(os.environ.get("WORKBENCH_PEERS") or HERE.parent / ".peers")


def install(folder: Path, sources: dict[str, str]) -> None:
    """Make the environments. `sources` replaces the address of a peer that is cloned. Reuses what is there."""
    same_jax = f"jax=={importlib.metadata.version('jax')}"
    for name, packages in (("torch", TORCH), ("jax", (same_jax, *JAX_PEERS))):
        if not interpreter(folder, name).exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        print(f"{name}: {' '.join(packages)} …", flush=True)
        tell = subprocess.run(
            [str(interpreter(folder, name)), "-m", "pip", "install", "--quiet", *packages], check=False
        )
        if tell.returncode != 0:
            print(f"{name}: pip failed; its peers will be recorded as not installed")
    for name, (address, commit) in SOURCES.items():
        _clone(folder / "src" / name, sources.get(name, address), commit, name)


def _clone(target: Path, address: str, commit: str, package: str) -> None:
    if not (target / ".git").exists():
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", address, str(target)], check=True)
    subprocess.run(["git", "-C", str(target), "checkout", "--quiet", commit, "--", package], check=True)


def command(folder: Path, family: str) -> tuple[list[str], dict[str, str]] | str:
    """(command, environment) of a family's child, or why there is none."""
    if family in ("ours", "sharded"):
        return [sys.executable, str(HERE / "_rnn_ours.py"), family], {"JAX_PLATFORMS": "cpu"}
    environment = "torch" if family == "torch" else "jax"
    python = interpreter(folder, environment)
    if not python.exists():
        return "not installed here (python benchmarks/rnn.py --install-peers)"
    if family == "torch":
        return [str(python), str(HERE / "_rnn_torch.py")], {}
    paths = os.pathsep.join(str(folder / "src" / name) for name in SOURCES)
    return [str(python), str(HERE / "_rnn_jax_peers.py")], {"PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"}


def interpreter(folder: Path, environment: str) -> Path:
    return folder / environment / "bin" / "python"
