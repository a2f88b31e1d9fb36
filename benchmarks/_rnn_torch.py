"""The child that measures the torch peers, in their own environment; see `_wire` for how it is spoken to."""

import importlib
import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import _rnn_methods as methods
import _wire as wire
import numpy as np

CORES = wire.pin()
torch: Any = importlib.import_module("torch")  # not in this project's lock
torch.set_num_threads(CORES)
pararnn: Any = importlib.import_module("pararnn")

GATES = {"ParaGRU": ("a_z", "a_r", "a_n"), "ParaLSTM": ("a_f", "a_z", "a_o", "c_f", "c_o")}


def same_weights(case: dict, held: Any) -> Any:
    """pararnn's cell with our weights: the same equations, its W_x is our B transposed, its c_* our p."""
    cell = getattr(pararnn, case["cell"])(case["dim"], case["dim"], max_recurrent_norm=None)
    recurrent = [*held["a"], *(held["p"] if case["cell"] == "ParaLSTM" else ())]
    with torch.no_grad():
        for name, values in zip(GATES[case["cell"]], recurrent, strict=True):
            getattr(cell, name).copy_(torch.from_numpy(values))
        B = held["B"][:, 0]  # (gates, in, out)
        cell.W_x.weight.copy_(torch.from_numpy(np.ascontiguousarray(B.transpose(0, 2, 1).reshape(-1, B.shape[1]))))
        cell.W_x.bias.copy_(torch.from_numpy(held["b"].reshape(-1)))
    return cell


def states_of(method: str, case: dict, held: Any) -> tuple[Any, Callable[[Any], Any]]:
    """(module, x -> states) of a peer."""
    if method == "torch.nn.GRU":
        module = torch.nn.GRU(case["dim"], case["dim"], batch_first=True)
        return module, lambda x: module(x)[0]
    cell = same_weights(case, held)
    if method == methods.PARARNN:
        config = pararnn.NewtonConfig(max_iters=3, residual_atol=None, residual_fail=None, picard_retry_atol=None)
        return cell, lambda x: pararnn.newton_apply(cell, x, config)
    if method == methods.PARARNN_LOOP:
        return cell, lambda x: pararnn.sequential_apply(cell, x)
    return cell, lambda x: eager(case["cell"], cell, x)


def eager(cell: str, module: Any, x: Any) -> Any:
    """The loop that anyone writes: operator by operator, the input projection of all times before it."""
    u = module.W_x(x)
    shape = (x.shape[0], x.shape[2]) if cell == "ParaGRU" else (x.shape[0], 2, x.shape[2])
    h, states = x.new_zeros(shape), []
    for t in range(x.shape[1]):
        h = module.step(h, x[:, t], wx=u[:, t])
        states.append(h)
    return torch.stack(states, 1)


def make(method: str, case: dict) -> tuple[Callable[[], Any], dict]:
    """Build a peer for a case; tells how far its states are from our reference where the cell is the same."""
    held = np.load(case["file"])
    x = torch.from_numpy(held["x"])
    torch.manual_seed(0)
    module, states = states_of(method, case, held)
    dense = method == "torch.nn.GRU"

    def forward() -> Any:
        with torch.inference_mode():
            return states(x)

    def backward() -> Any:
        module.zero_grad(set_to_none=True)
        leaf = x.detach().requires_grad_()
        loss = states(leaf).square().mean()
        loss.backward()
        return loss.detach(), leaf.grad

    work = forward if case["direction"] == "forward" else backward
    if case["direction"] != "forward" and method == methods.TORCH_LOOP:
        raise wire.Refused("Python loops are measured forward only")
    began = time.perf_counter()
    out = work()
    told: dict[str, Any] = {"compile_s": 0.0, "first_s": time.perf_counter() - began}
    if dense:
        told["note"] = "a dense cell with weights of its own: another function"
    elif case["direction"] == "forward":
        found = out.numpy()
        found = np.moveaxis(found, 2, -1) if case["cell"] == "ParaLSTM" else found
        told["error"] = float(np.abs(found - np.load(case["reference"])).max())
    else:
        told |= {"loss": float(out[0]), "gradient_norm": float(out[1].norm())}
    return work, told


if __name__ == "__main__":
    versions = {name: importlib.metadata.version(name) for name in ("torch", "pararnn-torch", "triton")}
    wire.serve(make, {"cores": CORES, "threads": torch.get_num_threads(), **versions})
