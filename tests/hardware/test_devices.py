"""The table of devices, and the kept measurements of this machine."""

import dataclasses
import json
import subprocess
import sys

import pytest

from workbench import hardware
from workbench.hardware import _cache, _calibrate

MADE_UP = {name: float(i + 1) for i, name in enumerate(_calibrate._FIGURES)}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    return tmp_path


def test_figures_of_a_data_sheet():
    a100 = hardware.device("A100-80GB")
    assert a100.name == hardware.device("a100").name == "A100-80GB-SXM"
    assert a100.peak_flop_per_s("bfloat16") == 312e12
    assert a100.memory_bandwidth_bytes_per_s == 2039e9
    assert a100.ridge_flop_per_byte("bfloat16") == pytest.approx(153, abs=0.1)
    with pytest.raises(ValueError, match=r"dtype: 'float8'.*float16"):
        a100.peak_flop_per_s("float8")


def test_every_device_is_complete_and_names_its_source():
    specs = hardware.devices()
    known = [name.lower() for spec in specs for name in (spec.name, *spec.aliases)]
    assert len(known) == len(set(known))
    assert {"A100-40GB-SXM", "A100-80GB-SXM", "H100-SXM", "H200", "V100-16GB-SXM2", "RTX-4090"} <= {
        s.name for s in specs
    }
    for spec in specs:
        assert len(spec.source) > 20
        assert "assumed" in spec.launch_source
        assert spec.peak_flop_per_s("float32") < spec.peak_flop_per_s("float16")
        assert hash(spec) == hash(dataclasses.replace(spec))


def test_an_unknown_device_is_refused_with_near_matches():
    with pytest.raises(ValueError, match=r"did you mean .*H100-SXM"):
        hardware.device("H100-SXN")
    with pytest.raises(ValueError, match="must be one of A100"):
        hardware.device("abacus")


def test_a_specification_must_be_positive():
    with pytest.raises(ValueError, match="memory_bytes: 0"):
        dataclasses.replace(hardware.device("T4"), memory_bytes=0)


def test_a_calibration_is_measured_once_and_again_on_request(cache, monkeypatch):
    calls = []
    monkeypatch.setattr(_calibrate, "_measure", lambda: calls.append(0) or dict(MADE_UP))
    first, second = hardware.calibrate(), hardware.calibrate()
    assert first == second
    assert first.copy_bytes_per_s == MADE_UP["copy_bytes_per_s"]
    assert "dispatch" in str(first)
    hardware.calibrate(refresh=True)
    assert len(calls) == 2
    assert len(list((cache / "measured").iterdir())) == 1  # no drafts are left


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: "\x00",
        lambda text: text.replace('"dispatch_s": 3.0', '"dispatch_s": -3.0'),
        lambda text: text.replace('"dispatch_s": 3.0', '"dispatch_s": NaN'),
        lambda text: text.replace('"dispatch_s": 3.0', '"dispatch_s": "3"'),
        lambda text: text.replace("dispatch_s", "dispatched_s"),
        lambda text: text.replace('"jax": "', '"jax": "0.'),
        lambda text: text.replace('"version": 1', '"version": 0'),
    ],
    ids=["torn", "list", "binary", "negative", "nan", "text", "renamed", "other jax", "other version"],
)
def test_a_spoilt_or_stale_file_is_measured_again(cache, monkeypatch, spoil):
    calls = []
    monkeypatch.setattr(_calibrate, "_measure", lambda: calls.append(0) or dict(MADE_UP))
    hardware.calibrate()
    (file,) = (cache / "measured").iterdir()
    text = file.read_text(encoding="utf-8")
    assert spoil(text) != text
    file.write_text(spoil(text), encoding="utf-8")
    assert hardware.calibrate().dispatch_s == 3.0
    assert len(calls) == 2
    assert json.loads(file.read_text(encoding="utf-8"))["figures"] == MADE_UP


def test_other_flags_of_xla_are_another_machine(monkeypatch):
    monkeypatch.setattr(_calibrate, "_measure", lambda: dict(MADE_UP))
    hardware.calibrate()
    before = hardware.this_machine()
    monkeypatch.setenv("XLA_FLAGS", "--xla_something_else")
    assert hardware.this_machine() != before
    assert _cache.recall("hardware", hardware.this_machine().facts(), MADE_UP) is None


def test_a_folder_that_cannot_be_written_warns_and_does_not_stop(cache, monkeypatch):
    (cache / "file").write_text("no folder")
    monkeypatch.setenv("WORKBENCH_CACHE", str(cache / "file"))
    monkeypatch.setattr(_calibrate, "_measure", lambda: dict(MADE_UP))
    with pytest.warns(UserWarning, match="not kept"):
        assert hardware.calibrate().dispatch_s == 3.0


def test_what_is_measured_is_plausible():
    """Orders of magnitude only: between a microcontroller and the fastest accelerator."""
    figures = _calibrate._measure()
    assert set(figures) == set(_calibrate._FIGURES)
    assert 1e8 < figures["matmul_flop_per_s"] < 1e16
    assert 1e7 < figures["copy_bytes_per_s"] < 1e14
    assert 1e-7 < figures["dispatch_s"] < 1
    assert 1e-9 < figures["small_loop_step_s"] < figures["large_loop_step_s"] < 1


def test_calls_take_turns_and_the_first_of_each_does_not_count():
    order = []
    seconds = hardware.interleaved_seconds({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3)
    assert order == ["a", "b"] + 3 * ["a", "b"]
    assert set(seconds) == {"a", "b"}
    assert min(seconds.values()) > 0


def test_specifications_and_the_cache_folder_need_no_jax():
    code = (
        "import sys; from workbench import hardware; hardware.device('H100'); hardware.compilation_cache();"
        "assert not {'jax', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
