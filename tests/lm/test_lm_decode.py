"""Decoding: a cache that goes on is the whole pass, samplers draw what they say, generation stops where it must."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench import lm

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 7, (3, 12), dtype=np.int32)


def close(a, b, atol=1e-6):  # attention takes its softmax in float32
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@pytest.fixture
def decoder(model):
    return model("attention", mixer=lm.Attention(heads=2, kv_heads=1))


@pytest.mark.parametrize("cuts", [(12,), (5, 12), tuple(range(1, 13))])
def test_a_cache_that_goes_on_is_the_whole_pass(decoder, cuts):
    whole, cache, logits = lm.forward(decoder, TOKENS).logits, lm.make_cache(decoder, 3, 16), []
    for start, stop in zip((0, *cuts), cuts, strict=False):
        output = lm.forward(decoder, TOKENS[:, start:stop], cache=cache)
        cache = output.cache
        logits.append(output.logits)
    close(jnp.concatenate(logits, axis=1), whole)
    assert (cache.length == 12).all()
    assert cache.room == 16


def test_rolled_back_forked_and_chosen_caches_go_on_as_if_nothing_had_been(decoder):
    cache = lm.forward(decoder, TOKENS, cache=lm.make_cache(decoder, 3, 16)).cache
    other = RNG.integers(0, 7, (3, 4), dtype=np.int32)
    back = cache.rollback(jnp.asarray([8, 5, 12]))
    logits = lm.forward(decoder, other, cache=back).logits
    for row, kept in enumerate((8, 5, 12)):
        text = np.concatenate([TOKENS[row, :kept], other[row]])[None]
        close(logits[row], lm.forward(decoder, text).logits[0, kept:])
    forked = cache.fork(2)
    assert forked.batch == 6
    twice = lm.forward(decoder, np.repeat(other, 2, axis=0), cache=forked).logits
    close(twice[::2], twice[1::2])
    close(twice[::2], lm.forward(decoder, other, cache=cache).logits)
    picked = lm.forward(decoder, other[[2]], cache=cache.take(jnp.asarray([2]))).logits
    close(picked[0], twice[4])
    with pytest.raises(ValueError, match=r"^length: "):
        cache.rollback(13)


def test_a_mask_over_the_cache_hides_what_it_says(decoder):
    """A branch that does not see its sibling: the tree mask over slots."""
    cache = lm.forward(decoder, TOKENS[:, :8], cache=lm.make_cache(decoder, 3, 12)).cache
    seen = np.concatenate([np.ones((4, 8), bool), lm.masks.tree([-1, 0, 0, 2])], axis=1)
    drafted = TOKENS[:, 8:]
    output = lm.forward(decoder, drafted, cache=cache, mask=seen, positions=np.asarray([8, 9, 9, 10]))
    straight = np.concatenate([TOKENS[:, :8], drafted[:, [0, 2, 3]]], axis=1)
    close(output.logits[:, [0, 2, 3]], lm.forward(decoder, straight).logits[:, 8:])


@pytest.mark.parametrize("name", ["attention", "ParaGRU", "SSD"])
def test_greedy_generation_is_the_likeliest_token_every_time(model, name):
    made, text = model(name), TOKENS[0, :5].tolist()
    found = lm.generate(made, text, max_new_tokens=6)
    logprobs = []
    for _ in range(6):
        told = jax.nn.log_softmax(lm.forward(made, text).logits[-1])
        text.append(int(told.argmax()))
        logprobs.append(float(told.max()))
    assert found.tokens[0].tolist() == text[5:]
    close(found.logprobs[0], logprobs, atol=1e-5)
    assert found.forwards == 6
    assert not found.stopped.any()


def test_prompts_of_different_lengths_go_on_as_each_alone(decoder):
    prompts = [TOKENS[0, :3].tolist(), TOKENS[1].tolist(), TOKENS[2, :1].tolist()]
    together = lm.generate(decoder, prompts, max_new_tokens=5)
    for i, prompt in enumerate(prompts):
        alone = lm.generate(decoder, prompt, max_new_tokens=5)
        assert together.tokens[i].tolist() == alone.tokens[0].tolist()
        close(together.entropies[i], alone.entropies[0], atol=1e-5)


def test_a_sequence_stops_at_its_end_and_the_others_go_on(decoder):
    free = lm.generate(decoder, TOKENS[:, :4], max_new_tokens=8)
    end = int(free.tokens[0, 2])
    stopped = lm.generate(decoder, TOKENS[:, :4], max_new_tokens=8, stop=[end])
    for row in range(3):
        where = np.flatnonzero(free.tokens[row] == end)
        length = int(where[0]) + 1 if where.size else 8
        assert stopped.lengths[row] == length
        assert stopped.stopped[row] == bool(where.size)
        assert stopped.tokens[row, :length].tolist() == free.tokens[row, :length].tolist()
        assert (stopped.tokens[row, length:] == 0).all()
    one = lm.generate(decoder, TOKENS[0, :4], max_new_tokens=8, stop=[end])
    assert one.forwards == stopped.lengths[0]


def test_drawing_is_that_of_the_softmax_and_repeats_with_its_key():
    logits = jnp.asarray([1.0, 0.0, -1.0, 2.0, -3.0])
    for sampler, p in (
        (lm.Sampler(), jax.nn.softmax(logits)),
        (lm.Sampler(temperature=0.5), jax.nn.softmax(2 * logits)),
        (lm.Sampler(top_k=2), jax.nn.softmax(jnp.where(logits >= 1, logits, -jnp.inf))),
        (lm.Sampler(top_p=0.7), jax.nn.softmax(jnp.where(logits >= 1, logits, -jnp.inf))),
        (lm.Sampler(top_p=0.5), jnp.eye(5)[3]),
    ):
        drawn = np.asarray(sampler(jnp.broadcast_to(logits, (20_000, 5)), jax.random.key(0)))
        counts, expected = np.bincount(drawn, minlength=5), 20_000 * np.asarray(p)
        assert (counts[expected == 0] == 0).all()
        chi2 = (((counts - expected) ** 2)[expected > 0] / expected[expected > 0]).sum()
        assert chi2 < 20  # 4 degrees of freedom: 1 in 2000
    assert int(lm.Sampler(temperature=0)(logits, jax.random.key(0))) == 3


def test_sampled_generation_repeats_with_its_key(decoder):
    draw = lambda seed: lm.generate(decoder, [1, 2], sampler=lm.Sampler(), key=jax.random.key(seed), max_new_tokens=9)
    assert draw(0).tokens.tolist() == draw(0).tokens.tolist()
    assert draw(0).tokens.tolist() != draw(1).tokens.tolist()


def test_text_in_text_out(model):
    made = model("attention", vocab=256).replace(tokenizer=lm.Bytes())
    found = lm.generate(made, "ab", max_new_tokens=4)
    assert found.text == found.texts[0] == bytes(found.tokens[0].tolist()).decode(errors="replace")
    assert repr(found).startswith("Generation(tokens: 4, forward passes: 4, stopped: 0 of 1, text: ")
    several = lm.generate(made, ["ab", "c"], max_new_tokens=4)
    assert several.texts[0] == found.text
    with pytest.raises(ValueError, match=r"^text: 2 sequences"):
        _ = several.text


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[1], []]}, "prompt"),
        ({"prompt": [7]}, "prompt"),
        ({"prompt": "text"}, "prompt"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": 30}, "max_new_tokens"),
        ({"sampler": lm.Sampler()}, "key"),
    ],
)
def test_what_cannot_be_generated_is_named(given, name, model):
    made = model("attention", max_length=24)
    with pytest.raises(ValueError, match=f"^{name}: "):
        lm.generate(made, **{"prompt": [1, 2]} | given)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda: lm.Sampler(temperature=-1), "temperature"),
        (lambda: lm.Sampler(top_k=0), "top_k"),
        (lambda: lm.Sampler(top_p=0.0), "top_p"),
        (lambda: lm.masks.tree([0]), "parents"),
        (lambda: lm.masks.segments(np.zeros((2, 2)), prompt=0, summary=1), "ids"),
        (lambda: lm.masks.padded([0, 3], 4), "lengths"),
        (lambda: lm.masks.causal(0), "n"),
    ],
)
def test_mistakes_are_named_at_the_door(wrong, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        wrong()


def test_a_full_cache_and_a_model_without_one_are_told(decoder, model):
    cache = lm.make_cache(decoder, 3, 4)
    with pytest.raises(ValueError, match=r"^cache: room for 4"):
        lm.forward(decoder, TOKENS, cache=cache)
    with pytest.raises(ValueError, match=r"^cache: made for 3"):
        lm.forward(decoder, TOKENS[:2, :2], cache=cache)
    with pytest.raises(ValueError, match=r"^model: "):
        lm.make_cache(model("ParaGRU"), 1, 4)


def test_segments_see_prompt_themselves_and_the_summary_all():
    mask = lm.masks.segments([1, 2, 2, 3, 9, -1], prompt=1, summary=9)
    seen = [np.flatnonzero(row).tolist() for row in mask]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 3], [0, 1, 2, 3, 4], [0]]
