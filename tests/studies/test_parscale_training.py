"""The training experiment of ParScale: its claims follow the losses, and a small run of it goes through."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from workbench import lm, parscale, study
from workbench.studies import _parscale_recycling as recycling
from workbench.studies import _parscale_training as training
from workbench.studies import parscale as parscale_study

CLAIMS = {
    claim.key: claim
    for claim in study.load_claims(Path(parscale_study.__file__).with_suffix(".toml"))[1]
    if claim.preset == "full"
}
SMALL = training.Budget(
    seeds=(1, 2), layers=1, hidden_dim=8, wider=16, length=8, first=50, second=50, prefix_tokens=4, windows=8, batch=2
)
SPREAD = np.asarray([-2e-3, -1e-3, 0, 1e-3, 2e-3])


class Log:
    """What was logged, and a folder for checkpoints."""

    def __init__(self, folder=None):
        self._folder, self.metrics = folder, {}

    def log(self, step=None, **metrics):
        self.metrics |= metrics

    def folder(self, name):
        return self._folder and self._folder / name


def found(gains):
    """Losses by arm: that of one stream less a gain."""
    residuals = lambda loss, gain: [
        parscale.Residuals(np.full(2, loss + gain) + s, loss + s, loss - 0.01 + s, 8 * gain) for s in SPREAD
    ]
    gains = {"P = 1": 0.0, "before the second stage": -0.1} | gains
    losses = {name: 1.5 - gain + SPREAD + 1e-4 * SPREAD[::-1] * i for i, (name, gain) in enumerate(gains.items())}
    apart = {name: residuals(1.5, 0.02) for name in ("P = 2", "P = 4")}
    apart |= {name: residuals(1.4, 0.1) for name in ("two models", "two dropout passes")}
    return training.Found(losses, apart, {"P = 1": 100_000, "wider": 150_000})


GOOD = {
    "P = 1, twice the steps": 0.05, "prefix": 0.01, "P = 2": 0.0275, "P = 4": 0.047, "P = 2, mean": 0.02,
    "prefix, frozen": -0.05, "P = 2, frozen": -0.02, "wider": 0.0455,
}  # fmt: skip


def verdicts(gains):
    outcomes = training.claims(training.Budget(), found(gains))
    assert outcomes.keys() | {"train.recycled.smollm2"} == CLAIMS.keys()
    return {key: study.verdict(CLAIMS[key], outcome).verdict for key, outcome in outcomes.items()}


def test_gains_like_the_published_ones_are_supported_and_their_opposites_are_not():
    assert set(verdicts(GOOD).values()) == {"supported"}
    bad = verdicts({name: -gain for name, gain in GOOD.items()} | {"wider": GOOD["wider"]})
    theirs = {key: verdict for key, verdict in bad.items() if not key.startswith(("train.theory", "train.merged"))}
    assert set(theirs.values()) == {"not reproduced"}


def test_no_gain_is_told_and_the_theory_stands_beside_it():
    outcomes = training.claims(training.Budget(), found(GOOD | {"P = 2": 0.0}))
    gain = study.verdict(CLAIMS["train.gain.p-2"], outcomes["train.gain.p-2"])
    assert gain.verdict == "not reproduced"
    assert gain.estimate.value == pytest.approx(0, abs=1e-3)
    assert gain.modelled.value == pytest.approx(100 * 0.02 / 1.5, rel=1e-3)
    assert outcomes["train.gain.p-2"].conditions["loss, P = 2"].startswith("1.5000 (")
    assert "two models" in str(outcomes["train.gain.p-2"].conditions)


def test_a_size_in_parameters_is_read_off_the_line_through_two():
    gains = GOOD | {"P = 2": GOOD["wider"]}
    assert training.equivalent(found(gains), 2).value == pytest.approx(np.full(5, 1.5), rel=2e-3)


def test_a_small_experiment_goes_through_and_resumes(tmp_path, monkeypatch):
    arms = {name: training.ARMS[name] for name in ("P = 1", "P = 2, mean", "prefix, frozen")}
    monkeypatch.setattr(training, "ARMS", arms)
    told, log = [], Log(tmp_path)
    first = training.run(SMALL, log, told.append)
    assert len(told) == len(arms) + 5
    assert first.losses.keys() == arms.keys() | {"wider", "before the second stage"}
    assert all(np.isfinite(losses).all() and losses.shape == (2,) for losses in first.losses.values())
    assert (first.losses["P = 1"] < first.losses["before the second stage"]).all()
    assert first.sizes["wider"] > first.sizes["P = 1"]
    assert len(first.apart["P = 2, mean"]) == len(first.apart["two models"]) == 2
    assert log.metrics["held-out/p-1/1"] == first.losses["P = 1"][0]
    monkeypatch.setattr(lm._train, "_advance", None)  # everything is in its checkpoint
    again = training.run(SMALL, Log(tmp_path), told.append)
    for name, losses in first.losses.items():
        np.testing.assert_array_equal(losses, again.losses[name])


def test_arms_are_what_they_say():
    base = lm.init(SMALL.config(8), jax.random.key(0))
    prompts = SMALL.prompts(1)
    assert len(np.unique(prompts, axis=0)) == len(prompts) == 8
    made = {name: arm.begin(base, prompts, jax.random.key(1)) for name, arm in training.ARMS.items()}
    assert made["P = 1"] is base
    counts = {name: model.streams.count for name, model in made.items() if model.streams}
    assert counts == {name: arm.streams for name, arm in training.ARMS.items() if arm.prefix != "none"}
    assert sorted(counts.values()) == [1, 1, 2, 2, 2, 4]
    assert {name for name, model in made.items() if model.frozen} == {"prefix, frozen", "P = 2, frozen"}
    assert made["P = 2, mean"].streams.gate is None
    np.testing.assert_array_equal(made["P = 2"].streams.prefix[0][:, :1], made["prefix"].streams.prefix[0])
    noise = dataclasses.replace(training.ARMS["P = 2"], prefix="noise").begin(base, prompts, jax.random.key(1))
    assert np.std(noise.streams.prefix[0]) == pytest.approx(0.02, rel=0.2)


def test_dropout_scales_up_what_it_leaves():
    base = lm.init(SMALL.config(64), jax.random.key(0))
    thinned = training.dropped(base, jax.random.key(1), 0.25)
    matrices = 0
    for whole, rest in zip(*(jax.tree.leaves(model.weights["layers"]) for model in (base, thinned)), strict=True):
        if whole.ndim <= 2:  # a gain of each layer, which no dropout touches
            np.testing.assert_array_equal(whole, rest)
            continue
        matrices, kept = matrices + 1, np.asarray(rest) != 0
        assert kept.mean() == pytest.approx(0.75, abs=0.03)
        np.testing.assert_allclose(np.asarray(rest)[kept], np.asarray(whole)[kept] / 0.75, rtol=1e-6)
    assert matrices >= 6


@pytest.mark.full
def test_recycling_a_pretrained_model_goes_through():
    budget = recycling.Budget(seeds=(1, 2), steps=2, windows=4, length=16, prefix_tokens=8)
    told = []
    outcomes = recycling.run(budget, Log(), told.append)
    (outcome,) = outcomes.values()
    assert told == ["smollm2-135m, prefix", "smollm2-135m, P = 2"]
    assert outcome.value.keys() == {"P = 2", "prefix", "frozen"}
    assert all(np.isfinite(values).all() and values.shape == (2,) for values in outcome.value.values())
