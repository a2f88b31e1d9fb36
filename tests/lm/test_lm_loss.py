"""Loss and scores against NumPy; bytes: streams of windows and bits a byte."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lm_table import config

from workbench import data, lm

RNG = np.random.default_rng(0)
BATCH = lm.Batch(
    RNG.integers(0, 7, (3, 11), dtype=np.int32), RNG.integers(0, 7, (3, 11), dtype=np.int32), RNG.random((3, 11)) < 0.4
)


def by_hand(logits, batch):
    """Cross entropy and correctness of the positions that count, and log Z of them."""
    logits = np.asarray(logits)[batch.mask]
    log_z = np.log(np.exp(logits).sum(-1))
    labels = batch.labels[batch.mask]
    return log_z - logits[np.arange(labels.size), labels], logits.argmax(-1) == labels, log_z


def test_loss_is_the_masked_mean_with_its_z_term(model):
    made = model("ParaGRU")
    entropy, _, log_z = by_hand(lm.forward(made, BATCH.tokens).logits, BATCH)
    value, stats = lm.loss(made, BATCH, 0.1)
    assert float(value) == pytest.approx(entropy.mean() + 0.1 * (log_z**2).mean(), abs=1e-12)
    assert stats.residual.shape == (2, 3)
    nothing, _ = lm.loss(made, BATCH._replace(mask=np.zeros((3, 11), bool)), 0.1)
    assert nothing == 0


def test_scores_count_positions_not_batches_and_take_several_models(model):
    made = model("ParaGRU")
    sparse = BATCH._replace(mask=BATCH.mask & (np.arange(11)[None] == 3))
    other = jax.tree.map(lambda a: 0.5 * a, made)
    trained, fixed = lm.partition(jax.tree.map(lambda *a: jnp.stack(a), made, other))
    scores = lm.Training((0, 1), trained, fixed, {}).evaluate([BATCH, sparse])
    for i, each in enumerate((made, other)):
        logits = lm.forward(each, BATCH.tokens).logits
        entropy, right, _ = (
            np.concatenate(a) for a in zip(by_hand(logits, BATCH), by_hand(logits, sparse), strict=True)
        )
        assert scores.loss[i] == pytest.approx(entropy.mean(), abs=1e-12)
        assert scores.accuracy[i] == pytest.approx(right.mean(), abs=1e-12)
        assert lm.evaluate(each, [BATCH, sparse]).loss == pytest.approx(scores.loss[i], abs=1e-12)
    with pytest.raises(ValueError, match=r"^batches: "):
        lm.evaluate(made, BATCH._replace(mask=np.zeros((3, 11), bool)))


def test_windows_ask_for_the_next_token_and_are_a_pure_function():
    corpus = data.stdlib_text(split="valid", limit_bytes=20_000)
    stream = lm.Windows(corpus, batch=4, length=16)
    batch = stream(1, 2)
    assert batch.tokens.shape == batch.labels.shape == (4, 16)
    assert (batch.tokens[:, 1:] == batch.labels[:, :-1]).all()
    assert batch.mask.all()
    text = corpus.bytes.tobytes()
    for tokens, labels in zip(batch.tokens, batch.labels, strict=True):
        assert bytes([*tokens.tolist(), int(labels[-1])]) in text
    assert (stream(1, 2).tokens == batch.tokens).all()
    assert (stream(1, 3).tokens != batch.tokens).any()
    assert (stream(2, 2).tokens != batch.tokens).any()
    assert lm.Windows(corpus, 4, 16) == stream
    assert lm.Later(stream, 2)(1, 0).tokens.tolist() == batch.tokens.tolist()
    with pytest.raises(ValueError, match=r"^length: "):
        lm.Windows(corpus, 4, 20_000)


class Pairs(lm.AbstractTokenizer):
    """Two characters a token."""

    content, vocab = "pairs", 2**16

    def encode(self, text, *, special=False):
        return [256 * ord(a) + ord(b) for a, b in zip(text[::2], text[1::2], strict=False)]

    def decode(self, tokens):
        return "".join(chr(token // 256) + chr(token % 256) for token in tokens)


def test_windows_of_a_tokenizer_s_tokens_lie_inside_files():
    corpus = data.stdlib_text(split="valid", limit_bytes=20_000)
    files = [corpus.bytes[i:j].tobytes().decode() for i, j in zip(corpus.offsets, corpus.offsets[1:], strict=False)]
    batch = lm.Windows(corpus, 4, 16, Pairs())(0, 0)
    for tokens, labels in zip(batch.tokens, batch.labels, strict=True):
        text = Pairs().decode([*tokens.tolist(), int(labels[-1])])
        assert len(text) == 34
        assert any(text in file for file in files)
    (judged,) = lm.held_out(corpus, length=16, windows=4, tokenizer=Pairs())
    assert judged.tokens.shape == (4, 16)
    assert judged.tokens.max() > 256
    with pytest.raises(ValueError, match=r"^length: 10000, must be below the corpus's 10000 tokens"):
        lm.Windows(corpus, 4, 10_000, Pairs())


def test_a_model_that_knows_nothing_takes_eight_bits_a_byte():
    made = lm.init(config("LinearGRU", vocab=256), jax.random.key(0))
    blank = made.replace(weights=made.weights | {"readout": jnp.zeros_like(made.weights["readout"])})
    corpus = data.stdlib_text(split="valid", limit_bytes=20_000)
    held_out = {"length": 16, "windows": 8, "seed": 3}
    assert lm.bits_per_byte(blank, corpus, **held_out) == pytest.approx(8, abs=1e-5)
    windows = lm.next_token(corpus.windows(17, 8, seed=3))
    entropy, _, _ = by_hand(lm.forward(made, windows.tokens).logits, windows)
    assert lm.bits_per_byte(made, corpus, **held_out) == pytest.approx(entropy.mean() / np.log(2), abs=1e-5)
    assert (lm.held_out(corpus, **held_out)[0].tokens == windows.tokens).all()


def test_what_a_model_loses_to_the_oracle_is_its_divergence(model):
    task = lm.tasks.HiddenMarkov(states=4, symbols=7)
    made, batches = model("attention"), [task.held_out(2000, 8, seed=seed) for seed in (0, 1)]
    least, loss = (float(lm.evaluate(source, batches).loss) for source in (task.oracle, made))
    apart = lm.divergence(task.oracle, made, batches)
    assert apart == pytest.approx(loss - least, rel=0.02)  # the labels are drawn: 32,000 of them
    assert apart > 0.5
    assert lm.divergence(task.oracle, task.oracle, batches) == pytest.approx(0, abs=1e-12)
    assert lm.divergence(made, task.oracle, batches) != pytest.approx(apart, rel=0.01)
    p, q = (np.asarray(jax.nn.log_softmax(logits)) for logits in (
        task.oracle.logits(batches[0].tokens), lm.forward(made, batches[0].tokens).logits,
    ))  # fmt: skip
    by_hand = (np.exp(p) * (p - q)).sum(-1)
    assert lm.divergence(task.oracle, made, batches[0]) == pytest.approx(by_hand.mean(), rel=1e-9)
    by_hand = by_hand[:, 3].mean()
    mask = np.arange(8) == 3
    masked = batches[0]._replace(mask=np.broadcast_to(mask, batches[0].mask.shape))
    assert lm.divergence(task.oracle, made, masked) == pytest.approx(by_hand, rel=1e-9)
