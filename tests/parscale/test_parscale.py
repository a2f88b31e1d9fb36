"""Streams: one batched call, cached decoding equal to the whole pass, aggregation, two stages, recycling."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench import lm, parscale
from workbench.hardware import counts

TOKENS = np.random.default_rng(0).integers(0, 7, (3, 11), dtype=np.int32)
CONFIG = lm.Config(7, 2, 8, lm.Attention(heads=2, kv_heads=1), mlp_dim=12)
STREAM = lm.tasks.Samples(lm.tasks.Parity(), batch=4, length=6)


def close(a, b, atol=1e-6):  # attention takes its softmax in float32
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def base():
    return lm.init(CONFIG, jax.random.key(0), jnp.float64)


def wrapped(base, streams=3, scale=1.0, **given):
    """A wrapped model with an aggregation that is not the mean it starts as."""
    model = parscale.wrap(base, streams=streams, prefix_tokens=5, scale=scale, key=jax.random.key(1), **given)
    if model.streams is None or model.streams.gate is None:
        return model
    noise = jax.tree.map(lambda a: a + 0.3 * jax.random.normal(jax.random.key(2), a.shape, a.dtype), model.streams.gate)
    return model.replace(streams=dataclasses.replace(model.streams, gate=noise))


def by_hand(model, tokens):
    """Stream after stream, the prefix as explicit keys and values before the tokens."""
    streams, hidden = model.streams, []
    for p in range(streams.count):
        one = parscale.Streams(tuple(a[:, p : p + 1] for a in streams.prefix), None)
        hidden.append(lm.forward(model.replace(streams=one), tokens).hidden)
    h = np.stack(hidden)
    if streams.gate is None:
        return h.mean(0)
    z = np.stack([h[p, ..., d] for d in range(h.shape[-1]) for p in range(len(h))], -1)  # feature * P + stream
    up, down = jax.tree.map(np.asarray, (streams.gate["up"], streams.gate["down"]))
    inner = z @ up["weight"] + up["bias"]
    scores = inner / (1 + np.exp(-inner)) @ down["weight"] + down["bias"]
    a = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    a = a * (1 - streams.smoothing) + streams.smoothing / len(h)
    return np.einsum("pbtd,btp->btd", h, a)


@pytest.mark.parametrize("aggregation", ["dynamic", "mean"])
def test_streams_are_the_model_run_apart_and_merged(base, aggregation):
    model = wrapped(base, aggregation=aggregation)
    output = lm.forward(model, TOKENS)
    close(output.hidden, by_hand(model, TOKENS))
    assert output.logits.shape == (3, 11, 7)


def test_one_stream_is_the_base_bit_for_bit(base):
    one = parscale.wrap(base, streams=1, key=jax.random.key(0))
    assert (lm.forward(one, TOKENS).logits == lm.forward(base, TOKENS).logits).all()
    assert one.parameters == base.parameters


@pytest.mark.parametrize("streams", [1, 2, 4])
@pytest.mark.parametrize("cuts", [(4, 11), tuple(range(1, 12))])
def test_cached_decoding_is_the_whole_pass(base, streams, cuts):
    model, logits = wrapped(base, streams), []
    cache = lm.make_cache(model, 3, 16)
    assert cache.room == 16  # the prefix takes none of it
    for start, stop in zip((0, *cuts), cuts, strict=False):
        output = lm.forward(model, TOKENS[:, start:stop], cache=cache)
        cache = output.cache
        logits.append(output.logits)
    close(jnp.concatenate(logits, axis=1), lm.forward(model, TOKENS).logits)
    found = lm.generate(model, TOKENS[:, :4], max_new_tokens=5)
    text = np.concatenate([TOKENS[:, :4], found.tokens], axis=1)
    assert np.array_equal(lm.forward(model, text).logits.argmax(-1)[:, 3:-1], found.tokens)


def test_a_prefix_is_seen_by_every_token(base):
    """The last prefix token reaches the first token's output."""
    model = wrapped(base)
    first = lm.forward(model, TOKENS).logits
    k, v = model.streams.prefix
    moved = dataclasses.replace(model.streams, prefix=(k, v.at[:, :, -1].add(1.0)))
    assert jnp.abs(lm.forward(model.replace(streams=moved), TOKENS).logits - first)[:, 0].max() > 1e-3


def test_one_call_for_all_streams():
    """The same number of operations whatever the number of streams, in the program and as compiled; the work grows."""
    base = lm.init(dataclasses.replace(CONFIG, hidden_dim=32, mlp_dim=64), jax.random.key(0))
    found = {}
    for streams in (2, 4, 8):
        model = parscale.wrap(base, streams=streams, prefix_tokens=5, key=jax.random.key(1))
        lowered = jax.jit(lambda m, t: lm.forward(m, t).logits).lower(model, TOKENS)
        text = lowered.as_text()
        found[streams] = text.count("stablehlo.dot_general"), text.count("stablehlo.while"), text.count(" = ")
    assert found[2] == found[4] == found[8]
    assert found[2][0] < 20
    work = [counts(lambda t, s=s: lm.forward(wrapped(base, s), t).logits, TOKENS).flops for s in (2, 8)]
    assert 3 < work[1] / work[0] < 4.5


def test_streams_differ_from_the_first_step_on_and_equal_ones_cannot_be_made(base):
    model = parscale.wrap(base, streams=3, prefix_tokens=5, key=jax.random.key(1))
    k, _ = model.streams.prefix
    apart = [float(jnp.abs(k[:, i] - k[:, j]).min()) for i in range(3) for j in range(i)]
    assert min(apart) > 0
    prompts = np.asarray([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
    with pytest.raises(ValueError, match=r"^prompts: two rows are equal"):
        parscale.wrap(base, streams=2, prefix_tokens=5, prompts=prompts, key=jax.random.key(1))


def test_gradients_reach_every_part_and_are_finite_at_the_start(base):
    model = parscale.wrap(base, streams=2, prefix_tokens=5, key=jax.random.key(1))
    batch = lm.Batch(TOKENS, np.roll(TOKENS, -1, 1), np.ones_like(TOKENS, bool))
    slope = jax.grad(lambda m: lm.loss(m, batch)[0])(model)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slope.streams.prefix))
    assert jnp.abs(slope.streams.gate["down"]["weight"]).max() > 0
    assert jnp.abs(slope.streams.gate["up"]["weight"]).max() == 0  # behind a zero matrix: it moves from step 2 on


def test_a_prompt_becomes_its_own_keys_and_values(base):
    """A prefix that is tokens: what attention sees is those tokens, all at position 0."""
    prompts = np.asarray([[1, 2, 3], [4, 5, 6]])
    model = parscale.wrap(base, streams=2, prefix_tokens=3, prompts=prompts, aggregation="mean", key=jax.random.key(1))
    texts = [np.concatenate([np.tile(row, (3, 1)), TOKENS], axis=1) for row in prompts]
    # Tokens of the prompt see each other in order, those of the text see all before them.
    positions = np.concatenate([np.zeros(3, int), np.arange(11)])
    hidden = [lm.forward(base, text, positions=positions).hidden[:, 3:] for text in texts]
    close(lm.forward(model, TOKENS).hidden, np.mean(hidden, axis=0))
    alone = parscale.prefixed(base, prefix_tokens=3, prompts=prompts[1:], key=jax.random.key(1))
    close(lm.forward(alone, TOKENS).hidden, hidden[1])


def test_smoothing_bounds_what_a_stream_counts_for(base):
    model = wrapped(base, 3, smoothing=0.3)
    hidden = 50 * jax.random.normal(jax.random.key(3), (3, 2, 4, 8))
    weights = model.streams.weights(hidden)
    close(weights.sum(0), np.ones((2, 4)))
    assert float(weights.min()) >= 0.1 - 1e-12
    assert float(weights.max()) > 0.75  # of at most 0.8


def test_parameters_are_the_papers_formula(base):
    layers, dim, kv = 2, 8, 4
    for streams in (2, 4):
        extra = layers * 2 * streams * 5 * kv + (streams * dim * dim + dim) + (dim * streams + streams)
        assert wrapped(base, streams).parameters - base.parameters == extra


def test_two_stages_go_on_from_the_first_and_recycling_leaves_the_backbone(tmp_path):
    config = dataclasses.replace(CONFIG, vocab=2, classes=None)
    stages = parscale.train(config, STREAM, streams=2, steps=(4, 3), prefix_tokens=3, seeds=(0, 1), folder=tmp_path)
    assert stages.first.history["loss"].shape == (2, 4)
    assert stages.second.history["loss"].shape == (2, 3)
    assert stages.model(1).streams.count == 2
    again = parscale.train(config, STREAM, streams=2, steps=(4, 3), prefix_tokens=3, seeds=(0, 1), folder=tmp_path)
    jax.tree.map(np.testing.assert_array_equal, again.model(1), stages.model(1))
    frozen = stages.first.model(0)
    recycled = parscale.train(frozen, STREAM, streams=2, steps=(0, 3), prefix_tokens=3, freeze=True)
    assert recycled.first is None
    jax.tree.map(np.testing.assert_array_equal, recycled.model(0).weights, frozen.weights)
    assert len(jax.tree.leaves(recycled.second.trained)) == 6  # keys, values, two sites


def test_streams_are_kept_apart_from_the_model_and_switched(base, tmp_path):
    files = {p: parscale.save(wrapped(base, p, smoothing=0.2).streams, tmp_path / f"{p}.safetensors") for p in (2, 3)}
    for p, file in files.items():
        switched = parscale.load(base, file)
        assert switched.weights is base.weights
        close(lm.forward(switched, TOKENS).logits, lm.forward(wrapped(base, p, smoothing=0.2), TOKENS).logits)
    other = lm.init(dataclasses.replace(CONFIG, layers=3), jax.random.key(0))
    with pytest.raises(ValueError, match=r"^file: "):
        parscale.load(other, files[2])


def test_the_theory_predicts_what_averaging_is_worth():
    """Streams that differ little: second order is all there is, observed and predicted gain agree."""
    base = lm.init(dataclasses.replace(CONFIG, vocab=32), jax.random.key(0), jnp.float64)
    tokens = np.random.default_rng(1).integers(0, 32, (16, 24), dtype=np.int32)
    drawn = jax.random.categorical(jax.random.key(5), lm.forward(base, tokens).logits)  # labels that the base believes
    batch = lm.Batch(tokens, np.asarray(drawn, np.int32), np.ones_like(tokens, bool))
    model = parscale.wrap(base, streams=4, prefix_tokens=3, scale=0.7, aggregation="mean", key=jax.random.key(2))
    found = parscale.residuals(model, batch)
    assert found.single.shape == (4,)
    assert found.observed_gain > 0
    assert found.predicted_gain == pytest.approx(found.observed_gain, rel=0.25)
    entropy = float(lm.evaluate(base, batch).loss)
    assert found.correlation(entropy) < 1
    assert "gain observed" in repr(found)
    with pytest.raises(ValueError, match=r"^entropy: "):
        found.correlation(100.0)
    with pytest.raises(ValueError, match=r"^model: one stream"):
        parscale.residuals(base, batch)
    with pytest.raises(ValueError, match=r"^model: 1 models"):
        parscale.residuals([base], batch)


def test_models_apart_are_an_ensemble():
    models = [lm.init(dataclasses.replace(CONFIG, vocab=7), jax.random.key(seed)) for seed in range(3)]
    task = lm.tasks.HiddenMarkov(states=3, symbols=7)
    batch = task.held_out(8, 10)
    found = parscale.residuals([*models, task.oracle], batch)
    told = [np.asarray(jax.nn.log_softmax(lm.logits(each, batch.tokens))) for each in (*models, task.oracle)]
    at = lambda log_p: -np.take_along_axis(log_p, batch.labels[..., None], -1).mean()
    np.testing.assert_allclose(found.single, [at(each) for each in told], rtol=1e-6)
    assert found.averaged == found.merged == pytest.approx(at(np.log(np.mean(np.exp(told), axis=0))), rel=1e-6)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"streams": 0}, "streams"),
        ({"streams": 2.0}, "streams"),
        ({"prefix_tokens": 0}, "prefix_tokens"),
        ({"smoothing": 1.5}, "smoothing"),
        ({"scale": -1.0}, "scale"),
        ({"aggregation": "max"}, "aggregation"),
        ({"prompts": np.zeros((2, 4), int)}, "prompts"),
    ],
)
def test_mistakes_are_named_at_the_door(base, given, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        parscale.wrap(base, **{"streams": 2, "prefix_tokens": 3, "key": jax.random.key(0)} | given)


def test_only_causal_attention_without_streams_can_be_wrapped(base):
    recurrent = lm.init(dataclasses.replace(CONFIG, mixer=lm.SSD(heads=2)), jax.random.key(0))
    for model in (recurrent, wrapped(base)):
        with pytest.raises(ValueError, match=r"^model: "):
            parscale.wrap(model, streams=2, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"^freeze: "):
        parscale.train(CONFIG, STREAM, streams=2, steps=(0, 1), freeze=True)
    with pytest.raises(ValueError, match=r"^steps: "):
        parscale.train(CONFIG, STREAM, streams=2, steps=(1, 0))
