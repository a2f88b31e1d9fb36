"""Tasks: every label against a slow, independent oracle; conventions; the same strings for the same numbers."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from workbench.lm import tasks


def draw(task, batch=40, length=15):
    return task.sample(np.random.default_rng(3), batch, length)


def parity(tokens):
    return [sum(tokens[: t + 1]) % 2 for t in range(len(tokens))]


def cycle(tokens):
    place, path = 0, []
    for move in tokens:
        place = {0: place, 1: place + 1, 2: place - 1}[move]
        path.append(place % 5)
    return path


def arithmetic(tokens):
    text = "".join("01234+-*"[token] for token in tokens)
    return [eval(text[: t + 1]) % 5 if t % 2 == 0 else None for t in range(len(text))]  # Python multiplies first, too


def arithmetic_left(tokens):
    values, value = [tokens[0]], tokens[0]
    for operator, digit in zip(tokens[1::2], tokens[2::2], strict=True):
        value = {5: value + digit, 6: value - digit, 7: value * digit}[operator]
        values += [None, value % 5]
    return values


def is_even(p):
    return sum(a > b for a, b in itertools.combinations(p, 2)) % 2 == 0


A5_ELEMENTS = [p for p in itertools.permutations(range(5)) if is_even(p)]  # lexicographic already


def word_problem(tokens):
    """Five things are moved about one token after the other; which permutation has been done so far?"""
    held, path = list(range(5)), []  # held[i]: where thing i is
    for token in tokens:
        held = [A5_ELEMENTS[token][place] for place in held]
        path.append(A5_ELEMENTS.index(tuple(held)))
    return path


def word_problem_of_generators(tokens):
    five, three = A5_ELEMENTS.index((1, 2, 3, 4, 0)), A5_ELEMENTS.index((1, 2, 0, 3, 4))
    return word_problem([(five, three)[token] for token in tokens])


def two_hops(tokens, hops=2, blank=5):
    def find(i):  # 1-based, as in the paper
        return max([0, *(j for j in range(2, i + 1) if tokens[j - 2] == tokens[i - 1])])

    labels = []
    for i in range(1, len(tokens) + 1):
        place = i
        for _ in range(hops):
            place = find(place) if place else 0
        labels.append(tokens[place - 1] if place else blank)
    return labels


ORACLES = [
    (tasks.Parity(), parity),
    (tasks.CycleNavigation(), cycle),
    (tasks.ModularArithmetic(), arithmetic),
    (tasks.ModularArithmetic(order="left"), arithmetic_left),
    (tasks.A5(), word_problem),
    (tasks.A5(generators=True), word_problem_of_generators),
    (tasks.KHop(hops=2, letters=5), two_hops),
    (tasks.KHop(hops=3, letters=3), lambda tokens: two_hops(tokens, hops=3, blank=3)),
]


@pytest.mark.parametrize(("task", "oracle"), ORACLES, ids=lambda value: str(value) if hasattr(value, "vocab") else "")
def test_labels_are_the_oracles(task, oracle):
    tokens, labels, mask = draw(task)
    for row in range(len(tokens)):
        expected = oracle(tokens[row].tolist())
        assert mask[row].tolist() == [answer is not None for answer in expected]
        assert labels[row][mask[row]].tolist() == [answer for answer in expected if answer is not None]


@pytest.mark.parametrize("task", [task for task, _ in ORACLES] + [tasks.MQAR(), tasks.HiddenMarkov(symbols=8)], ids=str)
def test_vocabulary_classes_and_chance_are_what_is_drawn(task):
    tokens, labels, mask = draw(task, batch=2000, length=61)
    assert tokens.dtype == labels.dtype == np.int32
    assert mask.dtype == bool
    assert tokens.shape == labels.shape == mask.shape == (2000, 61)
    assert set(np.unique(tokens)) == set(range(task.vocab))
    start = 0 if isinstance(task, tasks.MQAR) else 40  # an automaton takes its time to forget where it started
    late = labels[:, start:][mask[:, start:]]
    assert late.min() >= 0
    assert late.max() < task.classes
    assert np.bincount(late).max() / late.size == pytest.approx(task.chance, rel=0.15)


@pytest.mark.parametrize("noise", [True, False])
def test_mqar_asks_each_key_once_and_labels_its_value(noise):
    task = tasks.MQAR(pairs=5, symbols=24, noise=noise)
    tokens, labels, mask = draw(task, batch=200, length=31)
    for row, label, asked in zip(tokens, labels, mask, strict=True):
        pairs = dict(zip(row[0:10:2].tolist(), row[1:10:2].tolist(), strict=True))
        assert len(pairs) == 5
        assert all(1 <= key < 12 <= value < 24 for key, value in pairs.items())
        places = np.flatnonzero(asked)
        assert places.min() >= 10
        assert (places % 2 == 0).all()
        assert sorted(row[places].tolist()) == sorted(pairs)
        assert [pairs[key] for key in row[places].tolist()] == label[places].tolist()
        if not noise:
            rest = np.delete(row[10:], places - 10)
            assert (rest == 0).all()


def test_mqar_asks_mostly_early():
    task = tasks.MQAR(pairs=1, symbols=8, power=0.01)
    _, _, mask = draw(task, batch=20_000, length=22)  # ten slots
    slots = (np.argmax(mask, 1) - 2) // 2
    weights = np.arange(1, 11) ** (0.01 - 1)
    np.testing.assert_allclose(np.bincount(slots, minlength=10) / 20_000, weights / weights.sum(), atol=0.015)


def test_last_asks_the_last_position_only():
    for kind in (tasks.Parity, tasks.CycleNavigation, tasks.ModularArithmetic, tasks.A5):
        every, last = draw(kind()), draw(kind(labels="last"))
        assert (every.tokens == last.tokens).all()
        assert (last.labels[:, -1] == every.labels[:, -1]).all()
        assert last.mask[:, -1].all()
        assert not last.mask[:, :-1].any()


def test_a5_is_a_group_of_60_even_permutations_and_does_not_commute():
    from workbench.lm.tasks import _state_tracking

    table, group = _state_tracking.after_table(), [tuple(g) for g in _state_tracking.elements().tolist()]
    assert group == A5_ELEMENTS
    assert group[0] == (0, 1, 2, 3, 4)
    for axis in (0, 1):  # a Latin square
        assert (np.sort(table, axis) == np.arange(60).reshape((60, 1) if axis == 0 else (1, 60))).all()
    assert (table != table.T).any()
    g, h, k = np.random.default_rng(0).integers(0, 60, (3, 50))
    assert (table[table[g, h], k] == table[g, table[h, k]]).all()


def test_left_to_right_zero_is_the_likeliest_value():
    stay = Fraction(1, 3)  # p = 2/3 * 1/5 + 1/3 (p + (1 - p)/5)
    p = (Fraction(2, 3) / 5 + stay / 5) / (1 - stay * Fraction(4, 5))
    assert tasks.ModularArithmetic(order="left").chance == pytest.approx(float(p))


def test_the_oracle_of_a_hidden_markov_chain_sums_over_all_its_paths():
    task = tasks.HiddenMarkov(states=3, symbols=4, movement=0.5, speech=0.5)
    moves, speaks = task.matrices

    def probability(tokens):
        paths = itertools.product(range(3), repeat=len(tokens))
        walk = lambda path: np.prod([moves[pair] for pair in itertools.pairwise(path)])
        said = lambda path: np.prod([speaks[pair] for pair in zip(path, tokens, strict=True)])
        return sum(walk(path) * said(path) for path in paths) / 3

    tokens = draw(task, batch=2, length=5).tokens
    told = np.exp(np.asarray(task.oracle.logits(tokens)))
    for row, place in itertools.product(range(2), range(5)):
        read = tokens[row, : place + 1].tolist()
        expected = [probability([*read, token]) / probability(read) for token in range(4)]
        np.testing.assert_allclose(told[row, place], expected, rtol=1e-12)
    assert tasks.HiddenMarkov(language=1).matrices[0][0, 0] != tasks.HiddenMarkov().matrices[0][0, 0]


def test_streams_are_pure_and_steps_differ():
    stream = tasks.Samples(tasks.A5(), batch=4, length=6)
    first = stream(0, 5)
    assert all((a == b).all() for a, b in zip(first, stream(0, 5), strict=True))
    for other in (stream(0, 6), stream(1, 5), stream.task.held_out(4, 6)):
        assert (first.tokens != other.tokens).any()
    assert all((a == b).all() for a, b in zip(stream.task.held_out(4, 6), tasks.A5().held_out(4, 6), strict=True))


def test_a_curriculum_lengthens_at_its_steps():
    stream = tasks.Samples(tasks.Parity(), 2, ((0, 5), (100, 10), (150, 20)))
    assert [stream(0, step).tokens.shape[1] for step in (0, 99, 100, 149, 150, 10_000)] == [5, 5, 10, 10, 20, 20]


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda: tasks.Parity(labels="all"), "labels"),
        (lambda: tasks.ModularArithmetic(order="right"), "order"),
        (lambda: draw(tasks.ModularArithmetic(), length=4), "length"),
        (lambda: tasks.MQAR(pairs=0), "pairs"),
        (lambda: tasks.MQAR(pairs=4, symbols=8), "symbols"),
        (lambda: tasks.MQAR(symbols=33), "symbols"),
        (lambda: tasks.MQAR(power=0.0), "power"),
        (lambda: draw(tasks.MQAR(pairs=4), length=15), "length"),
        (lambda: tasks.KHop(hops=0), "hops"),
        (lambda: tasks.KHop(letters=0), "letters"),
        (lambda: tasks.HiddenMarkov(states=0), "states"),
        (lambda: tasks.HiddenMarkov(symbols=0), "symbols"),
        (lambda: tasks.HiddenMarkov(speech=0.0), "speech"),
        (lambda: tasks.Samples(tasks.Parity(), 0, 5), "batch"),
        (lambda: tasks.Samples(tasks.Parity(), 1, 0), "length"),
        (lambda: tasks.Samples(tasks.Parity(), 1, ((5, 10),)), "length"),
        (lambda: tasks.Samples(tasks.Parity(), 1, ((0, 10), (0, 20))), "length"),
    ],
)
def test_mistakes_are_named_at_the_door(wrong, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        wrong()
