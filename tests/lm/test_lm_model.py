"""The model: causal, layers scanned, parts against NumPy, solvers interchangeable, mistakes named."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm_table import MIXERS, config

from workbench import lm, rnn
from workbench.lm import _layers, _mixer, _model

TOKENS = np.random.default_rng(0).integers(0, 7, (3, 11), dtype=np.int32)


def close(a, b, atol=1e-12):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def unrolled(cfg, params, tokens):
    """The model layer by layer, in Python."""
    x = params["embedding"][tokens]
    for i in range(cfg.layers):
        x, _ = _model._layer(cfg, jax.tree.map(lambda a, i=i: a[i], params["layers"]), x)
    return _layers.rms_norm(x, params["norm"]) @ params["readout"]


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_is_causal(name, model):
    cfg, params = model(name)
    before = lm.forward(cfg, params, TOKENS).logits
    assert before.shape == (3, 11, 7)
    changed = TOKENS.copy()
    changed[:, 6] = (changed[:, 6] + 1) % 7
    after = lm.forward(cfg, params, changed).logits
    close(before[:, :6], after[:, :6], atol=0)
    assert jnp.abs(before - after).max((0, 2))[6:].min() > 1e-6  # and what comes after does see it


@pytest.mark.parametrize("name", ["attention", "ParaGRU"])
def test_layers_scanned_are_layers_unrolled(name, model):
    cfg, params = model(name)
    by_hand = jax.jit(lambda tokens: unrolled(cfg, params, tokens))(TOKENS)
    close(lm.forward(cfg, params, TOKENS).logits, by_hand)


@pytest.mark.parametrize("name", MIXERS)
def test_count_is_what_init_draws(name, model):
    cfg, params = model(name)
    drawn = sum(a.size for a in jax.tree.leaves(params))
    assert lm.count_parameters(cfg) == drawn
    assert lm.count_parameters(cfg, embedding=False) == drawn - 2 * 7 * 8
    assert {a.shape[0] for a in jax.tree.leaves(params["layers"])} == {cfg.layers}


def test_count_of_a_transformer_is_the_formula():
    D, L, V, heads = 96, 5, 256, 4
    cfg = lm.Config(V, L, D, lm.Attention(heads), mlp_dim=256)
    block = 4 * D * D + 3 * D * 256 + 2 * D + 2 * D // heads
    assert lm.count_parameters(cfg) == L * block + 2 * V * D + D
    assert lm.count_parameters(dataclasses.replace(cfg, tied=True)) == L * block + V * D + D
    assert lm.count_parameters(dataclasses.replace(cfg, mlp_dim=0)) == L * (block - 3 * D * 256 - D) + 2 * V * D + D
    assert dataclasses.replace(cfg, mlp_dim=None).mlp_width == 256


def test_attention_is_the_sum_over_the_past():
    mixer, rng = lm.Attention(heads=2), np.random.default_rng(1)
    params = mixer.init(8, jax.random.key(0), jnp.float64)
    x = rng.standard_normal((2, 5, 8))
    y, stats = mixer(params, jnp.asarray(x))
    assert stats is None
    q, k, v = np.moveaxis((x @ np.asarray(params["qkv"])).reshape(2, 5, 3, 2, 4), 2, 0)

    def turned(a, t):  # pairs (i, i + 2) as complex numbers, turned by t * theta^(-i/2)
        a = a / np.sqrt((a * a).mean(-1, keepdims=True) + 1e-6)
        z = (a[..., :2] + 1j * a[..., 2:]) * np.exp(1j * t * np.array([1, 1e4**-0.5]))
        return np.concatenate([z.real, z.imag], -1)

    for t in range(5):
        scores = np.stack([(turned(q[:, t], t) * turned(k[:, s], s)).sum(-1) / 2 for s in range(t + 1)], -1)
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        close(y[:, t], np.einsum("bhs,bshd->bhd", weights, v[:, : t + 1]).reshape(2, 8))


def test_rotary_scores_depend_on_the_distance_alone():
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))
    at = lambda a, t: _mixer.rope(a, jnp.array([t]), 1e4)
    close((at(q, 3) * at(k, 1)).sum(), (at(q, 103) * at(k, 101)).sum())


def test_convolution_is_numpys():
    rng = np.random.default_rng(2)
    x, kernel, bias = rng.standard_normal((2, 9, 3)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    y = _layers.causal_conv(*map(jnp.asarray, (x, kernel, bias)))
    for b in range(2):
        for d in range(3):
            close(y[b, :, d], np.convolve(x[b, :, d], kernel[::-1, d])[:9] + bias[d])


def test_bare_is_embedding_norm_cell_norm_readout(model):
    cfg, params = model("ParaLSTM", layers=1, bare=True)
    layer = jax.tree.map(lambda a: a[0], params["layers"])
    x = _layers.rms_norm(params["embedding"][TOKENS], layer["norm"])
    h = rnn.solve(rnn.ParaLSTM(8, 8, heads=2, clip_at=0.5), layer["mixer"], x, solver=rnn.Sequential()).outputs
    close(lm.forward(cfg, params, TOKENS).logits, _layers.rms_norm(h, params["norm"]) @ params["readout"])
    assert set(layer) == {"norm", "mixer"}


@pytest.mark.parametrize("name", ["ParaGRU", "LSTM"])
def test_solver_is_a_change_of_configuration(name, model):
    cfg, params = model(name)
    with_solver = lambda solver: dataclasses.replace(cfg, mixer=dataclasses.replace(cfg.mixer, solver=solver))
    exact = lm.forward(cfg, params, TOKENS)
    assert (exact.stats.iterations == 0).all()
    newton = lm.forward(with_solver(rnn.Newton()), params, TOKENS)
    assert newton.stats.converged.all()
    close(newton.logits, exact.logits, atol=1e-11)
    once = lm.forward(with_solver(rnn.Newton(steps=1)), params, TOKENS)
    assert once.stats.iterations.shape == once.stats.residual.shape == (2, 3)
    assert (once.stats.iterations == 1).all()
    assert not once.stats.converged.any()  # told, not raised
    assert once.stats.residual.min() > 1e-9
    assert jnp.abs(once.logits - exact.logits).max() > 1e-9


def test_gradient_is_that_of_backpropagation_through_time(model):
    cfg, params = model("ParaGRU")
    through_time = dataclasses.replace(cfg, mixer=dataclasses.replace(cfg.mixer, solver=rnn.Sequential("bptt")))
    batch = lm.Batch(TOKENS, TOKENS, np.ones_like(TOKENS, bool))
    one, other = (jax.grad(lambda p, c=c: lm.loss(c, p, batch)[0])(params) for c in (cfg, through_time))
    jax.tree.map(close, one, other)


def test_clip_bounds_recurrent_weights_of_all_layers_and_nothing_else(model):
    cfg, params = model("ParaLSTM")
    large = jax.tree.map(lambda a: 10 * a, params)
    clipped = lm.clip(cfg, large)
    for name in ("a", "p"):
        assert jnp.abs(clipped["layers"]["mixer"][name]).max() == 0.5
    assert (clipped["layers"]["mixer"]["B"] == large["layers"]["mixer"]["B"]).all()
    assert (clipped["layers"]["in"] == large["layers"]["in"]).all()


def test_tied_and_expanded_and_plain(model):
    cfg, params = model("LinearGRU", tied=True, expand=2, conv_width=1, mlp_dim=0)
    assert params["layers"]["mixer"]["B"].shape == (2, 2, 1, 16, 16)  # layers, gates, heads, expanded width
    assert "readout" not in params
    assert not {"conv", "mlp"} & set(params["layers"])
    logits = lm.forward(cfg, params, TOKENS).logits
    assert logits.shape == (3, 11, 7)
    assert 0.3 < float(logits.std()) < 3


def test_residual_stream_starts_near_unit_variance_at_any_depth():
    cfg = config(layers=24, hidden_dim=32, mlp_dim=64)
    params = lm.init(cfg, jax.random.key(0))
    assert params["embedding"].dtype == jnp.float32
    x = params["embedding"][TOKENS]
    x, _ = jax.jit(lambda x: jax.lax.scan(lambda x, layer: _model._layer(cfg, layer, x), x, params["layers"]))(x)
    assert 0.7 < float(x.std()) < 1.7


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda: config(vocab=0), "vocab"),
        (lambda: config(layers=True), "layers"),
        (lambda: config(hidden_dim=2.0), "hidden_dim"),
        (lambda: config(mixer="attention"), "mixer"),
        (lambda: config(mlp_dim=-1), "mlp_dim"),
        (lambda: config(conv_width=0), "conv_width"),
        (lambda: config(expand=0), "expand"),
        (lambda: config(classes=0), "classes"),
        (lambda: config(tied=True, classes=3), "classes"),
        (lambda: config("attention", hidden_dim=6), "hidden_dim"),
        (lambda: config("ParaGRU", hidden_dim=5), "input_dim"),
        (lambda: config("SSD", hidden_dim=5), "hidden_dim"),
        (lambda: config(mixer=lm.Recurrent(rnn.LSTM, clip_at=0.5)), "clip_at"),
        (lambda: lm.Recurrent("ParaGRU"), "cell"),
        (lambda: lm.Recurrent(solver="newton"), "solver"),
        (lambda: lm.Recurrent(scan="serial"), "scan"),
        (lambda: lm.Attention(heads=0), "heads"),
        (lambda: lm.Attention(rope_theta=1.0), "rope_theta"),
        (lambda: lm.SSD(chunk=0), "chunk"),
        (lambda: lm.forward(config(), {}, np.zeros(3, int)), "tokens"),
        (lambda: lm.forward(config(), {}, np.zeros((3, 0), int)), "tokens"),
        (lambda: lm.forward(config(), {}, np.zeros((3, 2))), "tokens"),
        (lambda: lm.forward(config(), {}, np.full((3, 2), 7)), "tokens"),
        (lambda: lm.forward(config(), {}, np.full((3, 2), -1)), "tokens"),
    ],
)
def test_mistakes_are_named_at_the_door(wrong, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        wrong()


def test_configurations_compare_by_value_and_print_well():
    assert config("SSD") == config("SSD")
    assert hash(config()) == hash(config())
    assert config() != config("ParaLSTM")
    assert repr(MIXERS["ParaGRU"]) == "Recurrent(ParaGRU, heads=2, clip_at=0.5)"
    assert math.isclose(config().mlp_width, 12)
