"""Observations: what was published, and what is refused."""

import numpy as np
import pytest

from workbench import data, scaling

GOOD = {"parameters": [1e9, 2e9, 3e9, 4e9], "streams": [1, 2, 4, 8], "loss": [1.4, 1.3, 1.2, 1.1]}


@pytest.mark.parametrize(
    ("name", "largest", "least"), [("parscale-stack", 1.1722, 0.9794), ("parscale-pile", 2.1113, 1.7772)]
)
def test_published(name, largest, least):
    losses = scaling.published(name)
    assert len(losses) == 24
    assert (losses.loss.max(), losses.loss.min()) == (largest, least)
    assert losses.evidence == "published"
    assert "ParScale" in losses.source
    assert np.unique(losses.streams).tolist() == [1, 2, 4, 8]
    for values in (losses.parameters, losses.streams, losses.loss):
        assert values.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1.0


def test_published_sizes_are_those_of_the_architecture():
    """36 layers of grouped-query attention with 16 and 2 heads, and what P streams add: prefixes of 48, aggregation."""
    widths = [(896, 4864), (1024, 5504), (1280, 6912), (1536, 8320), (2048, 11008), (2560, 13824)]

    def size(h, i, P):
        base = 36 * ((h * h + h) + 2 * (h * h // 8 + h // 8) + h * h + 3 * h * i + 2 * h) + h
        return base + (P > 1) * (36 * 2 * P * 2 * 48 * (h // 16) + (P * h * h + h) + (h * P + P))

    expected = {(size(h, i, P), P) for h, i in widths for P in (1, 2, 4, 8)}
    rows = data.published("parscale-losses")
    assert rows.height == 48
    for corpus in ("stack", "pile"):
        assert set(rows.filter(corpus=corpus).select("parameters", "streams").rows()) == expected


def test_losses_print_themselves():
    losses = scaling.published("parscale-stack")
    assert repr(losses).startswith("Losses(parscale-stack: runs 24, parameters 5.36·10⁸ to 4.41·10⁹, streams 1 to 8")
    assert "<table" in losses._repr_html_()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"parameters": [0, 2e9, 3e9, 4e9]}, "parameters: 0.0 at 0, must be finite and above 0"),
        ({"parameters": ["a", "b", "c", "d"]}, "parameters: .*, must be numbers"),
        ({"parameters": 1e9}, r"parameters: shape \(\)"),
        ({"streams": [1, 2, 4, 0]}, "streams: 0.0 at 3, must be a whole number, at least 1"),
        ({"streams": [1, 2.5, 4, 8]}, "streams: 2.5 at 1, must be a whole number"),
        ({"streams": [1, 2, 4]}, "streams: 3 values, must be as many as parameters, 4"),
        ({"loss": [1.4, 1.3, float("nan"), 1.1]}, "loss: nan at 2"),
        ({"loss": [1.4, -1.3, 1.2, 1.1]}, "loss: -1.3 at 1"),
        ({"loss": [1.4, float("inf"), 1.2, 1.1]}, "loss: inf at 1"),
        ({"tokens": [1e9, 0, 1e9, 1e9]}, "tokens: 0.0 at 1"),
        ({"tokens": [1e9]}, "tokens: 1 values"),
        ({"parameters": [1e9] * 4, "streams": [1, 1, 2, 4]}, r"parameters: 3 different \(parameters, streams\)"),
        ({"evidence": "heard"}, "evidence: 'heard', must be one of measured"),
    ],
)
def test_losses_door(column, message):
    with pytest.raises(ValueError, match=message):
        scaling.Losses(**(GOOD | column))


def test_unknown_name():
    with pytest.raises(ValueError, match="name: 'gpt', must be one of parscale-stack, parscale-pile"):
        scaling.published("gpt")
