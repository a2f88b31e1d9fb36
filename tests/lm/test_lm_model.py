"""The model: causal, layers scanned, parts against NumPy, solvers interchangeable, mistakes named."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm_table import MIXERS, config

from workbench import lm, rnn
from workbench.lm import _attention, _forward, _layers
from workbench.lm._mixer import Context

TOKENS = np.random.default_rng(0).integers(0, 7, (3, 11), dtype=np.int32)
TIME = TOKENS.shape[1]
PLAIN = Context(jnp.arange(TIME)[None], jnp.asarray(lm.masks.causal(TIME))[None], 1e-6)


def close(a, b, atol=1e-12):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def unrolled(model, tokens):
    """The model layer by layer, in Python."""
    x = model.weights["embedding"][tokens]
    for i in range(model.config.layers):
        layer = jax.tree.map(lambda a, i=i: a[i], model.weights["layers"])
        x, _ = _forward._block(model.config, layer, x, PLAIN)
    return _layers.rms_norm(x, model.weights["norm"]["weight"]) @ model.weights["readout"]


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_is_causal(name, model):
    made = model(name)
    before = lm.forward(made, TOKENS).logits
    assert before.shape == (3, 11, 7)
    changed = TOKENS.copy()
    changed[:, 6] = (changed[:, 6] + 1) % 7
    after = lm.forward(made, changed).logits
    close(before[:, :6], after[:, :6], atol=0)
    assert jnp.abs(before - after).max((0, 2))[6:].min() > 1e-6  # and what comes after does see it


@pytest.mark.parametrize("name", ["attention", "ParaGRU"])
def test_layers_scanned_are_layers_unrolled(name, model):
    made = model(name)
    by_hand = jax.jit(lambda tokens: unrolled(made, tokens))(TOKENS)
    close(lm.forward(made, TOKENS).logits, by_hand)


@pytest.mark.parametrize("name", MIXERS)
def test_count_is_what_init_draws(name, model):
    made = model(name)
    drawn = sum(a.size for a in jax.tree.leaves(made))
    assert lm.count_parameters(made) == lm.count_parameters(made.config) == made.parameters == drawn
    assert lm.count_parameters(made, embedding=False) == drawn - 2 * 7 * 8
    assert {a.shape[0] for a in jax.tree.leaves(made.weights["layers"])} == {made.config.layers}


def test_count_of_a_transformer_is_the_formula():
    D, L, V, heads = 96, 5, 256, 4
    cfg = lm.Config(V, L, D, lm.Attention(heads), mlp_dim=256)
    block = 4 * D * D + 3 * D * 256 + 2 * D + 2 * D // heads
    assert lm.count_parameters(cfg) == L * block + 2 * V * D + D
    assert lm.count_parameters(dataclasses.replace(cfg, tied=True)) == L * block + V * D + D
    assert lm.count_parameters(dataclasses.replace(cfg, mlp_dim=0)) == L * (block - 3 * D * 256 - D) + 2 * V * D + D
    assert dataclasses.replace(cfg, mlp_dim=None).mlp_width == 256


@pytest.mark.parametrize("kv_heads", [None, 1])
def test_attention_is_the_sum_over_the_past(kv_heads):
    mixer, rng = lm.Attention(heads=2, kv_heads=kv_heads, bias=True), np.random.default_rng(1)
    params = jax.tree.map(lambda a: a + 0.1, mixer.init(8, jax.random.key(0), jnp.float64))
    x = rng.standard_normal((2, TIME, 8))
    mixed = mixer(params, jnp.asarray(x), PLAIN)
    assert mixed.stats is None
    assert mixed.cache is None
    q, k, v = (x @ np.asarray(params[n]["weight"]) + np.asarray(params[n]["bias"]) for n in "qkv")
    q, k, v = (np.broadcast_to(a.reshape(2, TIME, -1, 4), (2, TIME, 2, 4)) for a in (q, k, v))

    def turned(a, t, gain):  # pairs (i, i + 2) as complex numbers, turned by t * theta^(-i/2)
        a = a / np.sqrt((a * a).mean(-1, keepdims=True) + 1e-6) * np.asarray(gain)
        z = (a[..., :2] + 1j * a[..., 2:]) * np.exp(1j * t * np.array([1, 1e4**-0.5]))
        return np.concatenate([z.real, z.imag], -1)

    for t in range(TIME):
        at = turned(q[:, t], t, params["norm_q"])
        scores = [(at * turned(k[:, s], s, params["norm_k"])).sum(-1) / 2 for s in range(t + 1)]
        weights = np.exp(np.stack(scores, -1))
        weights = weights / weights.sum(-1, keepdims=True)
        close(mixed.y[:, t], np.einsum("bhs,bshd->bhd", weights, v[:, : t + 1]).reshape(2, 8), atol=1e-6)


def test_rotary_scores_depend_on_the_distance_alone():
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))
    at = lambda a, t: _attention.rope(a, jnp.array([[t]]), 1e4)
    close((at(q, 3) * at(k, 1)).sum(), (at(q, 103) * at(k, 101)).sum())


def test_convolution_is_numpys():
    rng = np.random.default_rng(2)
    x, kernel, bias = rng.standard_normal((2, 9, 3)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    y = _layers.causal_conv(*map(jnp.asarray, (x, kernel, bias)))
    for b in range(2):
        for d in range(3):
            close(y[b, :, d], np.convolve(x[b, :, d], kernel[::-1, d])[:9] + bias[d])


def test_bare_is_embedding_norm_cell_norm_readout(model):
    made = model("ParaLSTM", layers=1, bare=True)
    layer = jax.tree.map(lambda a: a[0], made.weights["layers"])
    x = _layers.rms_norm(made.weights["embedding"][TOKENS], layer["norm"]["weight"])
    h = rnn.solve(rnn.ParaLSTM(8, 8, heads=2, clip_at=0.5), layer["mixer"], x, solver=rnn.Sequential()).outputs
    by_hand = _layers.rms_norm(h, made.weights["norm"]["weight"]) @ made.weights["readout"]
    close(lm.forward(made, TOKENS).logits, by_hand)
    assert set(layer) == {"norm", "mixer"}


@pytest.mark.parametrize("name", ["ParaGRU", "LSTM"])
def test_solver_is_a_change_of_configuration(name, model):
    made = model(name)
    mixer = made.config.mixer
    with_solver = lambda solver: made.replace(
        config=dataclasses.replace(made.config, mixer=dataclasses.replace(mixer, solver=solver))
    )
    exact = lm.forward(made, TOKENS)
    assert (exact.stats.iterations == 0).all()
    newton = lm.forward(with_solver(rnn.Newton()), TOKENS)
    assert newton.stats.converged.all()
    close(newton.logits, exact.logits, atol=1e-11)
    once = lm.forward(with_solver(rnn.Newton(steps=1)), TOKENS)
    assert once.stats.iterations.shape == once.stats.residual.shape == (2, 3)
    assert (once.stats.iterations == 1).all()
    assert not once.stats.converged.any()  # told, not raised
    assert once.stats.residual.min() > 1e-9
    assert jnp.abs(once.logits - exact.logits).max() > 1e-9


def test_gradient_is_that_of_backpropagation_through_time(model):
    made = model("ParaGRU")
    cfg = made.config
    through_time = dataclasses.replace(cfg, mixer=dataclasses.replace(cfg.mixer, solver=rnn.Sequential("bptt")))
    batch = lm.Batch(TOKENS, TOKENS, np.ones_like(TOKENS, bool))
    one, other = (jax.grad(lambda m: lm.loss(m, batch)[0])(made.replace(config=c)) for c in (cfg, through_time))
    jax.tree.map(close, one.weights, other.weights)


def test_clip_bounds_recurrent_weights_of_all_layers_and_nothing_else(model):
    large = jax.tree.map(lambda a: 10 * a, model("ParaLSTM"))
    before, clipped = large.weights["layers"], lm.clip(large).weights["layers"]
    for name in ("a", "p"):
        assert jnp.abs(clipped["mixer"][name]).max() == 0.5
    assert (clipped["mixer"]["B"] == before["mixer"]["B"]).all()
    assert (clipped["in"]["weight"] == before["in"]["weight"]).all()


def test_tied_and_expanded_and_plain(model):
    made = model("LinearGRU", tied=True, expand=2, conv_width=1, mlp_dim=0)
    assert made.weights["layers"]["mixer"]["B"].shape == (2, 2, 1, 16, 16)  # layers, gates, heads, expanded width
    assert "readout" not in made.weights
    assert not {"conv", "mlp"} & set(made.weights["layers"])
    logits = lm.forward(made, TOKENS).logits
    assert logits.shape == (3, 11, 7)
    assert 0.3 < float(logits.std()) < 3


def test_residual_stream_starts_near_unit_variance_at_any_depth():
    made = lm.init(config(layers=24, hidden_dim=32, mlp_dim=64), jax.random.key(0))
    assert made.weights["embedding"].dtype == jnp.float32
    x, block = made.weights["embedding"][TOKENS], lambda x, layer: _forward._block(made.config, layer, x, PLAIN)
    x, _ = jax.jit(lambda x: jax.lax.scan(lambda x, layer: (block(x, layer)[0], None), x, made.weights["layers"]))(x)
    assert 0.7 < float(x.std()) < 1.7


def test_what_is_not_masked_alone_has_influence(model):
    """Exactly none, in the gradient too: a mask is not a large negative number that rounds."""
    made, mask = model("attention"), np.ones((TIME, TIME), bool)
    mask[:, 4] = False
    mask[4, 4] = True
    embedded = lambda row: made.replace(weights=made.weights | {"embedding": row})
    tokens = np.where(np.arange(TIME) == 4, 6, np.arange(TIME) % 6)[None]
    read = lambda row: (lm.forward(embedded(row), tokens, mask=mask).logits[0, np.arange(TIME) != 4] ** 2).sum()
    slope = jax.grad(read)(made.weights["embedding"])
    assert (slope[6] == 0).all()
    assert (jnp.abs(slope[:6]).max(1) > 0).all()


def test_positions_can_be_told(model):
    made = model("attention")
    first = lm.forward(made, TOKENS)
    close(lm.forward(made, TOKENS, positions=np.arange(TIME) + 100).logits, first.logits, atol=1e-9)
    apart = lm.forward(made, TOKENS, positions=2 * np.arange(TIME)).logits
    assert jnp.abs(apart - first.logits).max() > 1e-3
    close(lm.forward(made, TOKENS[0]).logits, first.logits[0])
    close(lm.forward(made, TOKENS[0].tolist()).hidden, first.hidden[0])


@pytest.mark.parametrize("name", ["attention", "ParaGRU"])
def test_an_exit_is_the_model_cut_there(name, model):
    made = model(name, layers=3)
    output = lm.forward(made, TOKENS, exit_layer=2)
    close(output.logits, lm.forward(made, TOKENS).logits)
    layers = jax.tree.map(lambda a: a[:2], made.weights["layers"])
    cut = made.replace(
        weights=made.weights | {"layers": layers}, config=dataclasses.replace(made.config, layers=2)
    )  # fmt: skip
    close(output.exit_logits, lm.forward(cut, TOKENS).logits)
    if output.stats is not None:
        assert output.stats.iterations.shape == (3, 3)


def test_partition_divides_by_what_is_frozen(model):
    made = model("attention")
    trained, fixed = lm.partition(made)
    assert len(jax.tree.leaves(trained)) == len(jax.tree.leaves(made))
    assert not jax.tree.leaves(fixed)
    trained, fixed = lm.partition(made.replace(frozen=("weights",)))
    assert not jax.tree.leaves(trained)
    assert len(jax.tree.leaves(fixed)) == len(jax.tree.leaves(made))
    with pytest.raises(ValueError, match=r"^frozen: "):
        made.replace(frozen=("heads",))


def test_a_model_prints_what_it_is(model):
    assert repr(model("SSD")).startswith(
        "Model(mixer: SSD(heads=2, state_dim=3, chunk=4), size: 2 layers of 8 channels"
    )
    assert "parameters" in model("SSD")._repr_html_()


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
        (lambda: config(mlp="relu"), "mlp"),
        (lambda: config(norm="batch"), "norm"),
        (lambda: config(norm_eps=-1.0), "norm_eps"),
        (lambda: config(post_norm=True), "post_norm"),
        (lambda: config(positions=0), "positions"),
        (lambda: lm.Attention(heads=4, kv_heads=3), "kv_heads"),
        (lambda: config("attention", mixer=lm.Attention(heads=2, head_dim=3)), "head_dim"),
        (lambda: lm.RopeScaling(0.5, 1, 4, 8192), "rope_scaling"),
    ],
)
def test_mistakes_are_named_at_the_door(wrong, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        wrong()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"tokens": np.zeros((3, 0), int)}, "tokens"),
        ({"tokens": np.zeros((3, 2, 1), int)}, "tokens"),
        ({"tokens": np.zeros((3, 2))}, "tokens"),
        ({"tokens": np.full((3, 2), 7)}, "tokens"),
        ({"tokens": np.full((3, 2), -1)}, "tokens"),
        ({"tokens": np.zeros(21, int)}, "tokens"),
        ({"mask": np.ones((11, 10), bool)}, "mask"),
        ({"mask": np.ones((11, 11))}, "mask"),
        ({"positions": np.zeros(10, int)}, "positions"),
        ({"exit_layer": 3}, "exit_layer"),
        ({"exit_layer": 0}, "exit_layer"),
    ],
)
def test_what_does_not_fit_the_model_is_named(given, name, model):
    with pytest.raises(ValueError, match=f"^{name}: "):
        lm.forward(model("attention", max_length=20), **{"tokens": TOKENS} | given)


def test_a_recurrence_takes_no_mask(model):
    with pytest.raises(ValueError, match=r"^mask: "):
        lm.forward(model("ParaGRU"), TOKENS, mask=lm.masks.causal(TIME))


def test_configurations_compare_by_value_and_print_well():
    assert config("SSD") == config("SSD")
    assert hash(config()) == hash(config())
    assert config() != config("ParaLSTM")
    assert repr(MIXERS["ParaGRU"]) == "Recurrent(ParaGRU, heads=2, clip_at=0.5)"
    assert math.isclose(config().mlp_width, 12)
