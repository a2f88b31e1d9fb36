"""Ranking by what was left out: the true form comes first, and a form that only fits well does not."""

import jax.numpy as jnp
import numpy as np
import pytest
from scaling_table import N, P, losses

from workbench import scaling

THREE = (scaling.ParScaleLaw(), scaling.InverseRootLaw(), scaling.ChinchillaLaw())


@pytest.mark.parametrize("truth", [scaling.ParScaleLaw(), scaling.InverseRootLaw()], ids=repr)
def test_the_true_form_comes_first(truth):
    table = scaling.rank(losses(truth, noise=5e-4, seed=2), THREE, starts=30)
    assert table["form"][0] == repr(truth)
    assert table["left_out_error"].is_sorted()
    assert table["left_out_error"][0] < 2e-3
    assert table["form"][-1] == "ChinchillaLaw()"
    assert table["failed"].sum() == 0
    assert (table["worst_error"] >= table["left_out_error"]).all()


def _wiggle(p, N, P):
    x = jnp.log(P)
    return scaling.ParScaleLaw().loss(p, N, P) + p["c"] * x * (x - jnp.log(2.0)) * (x - jnp.log(4.0))


def test_a_form_that_only_fits_better_does_not_win():
    """A cubic in ln P fits more closely whatever is there, and foretells the stream that it has not seen worse."""
    form = scaling.ParScaleLaw()
    more = scaling.CustomLaw(
        _wiggle, (*form.names, "c"), [*(values[1:3] for values in form.starts), (-0.01, 0.01)], [*form.lower, -np.inf]
    )
    table = scaling.rank(losses(form, noise=2e-3, seed=4), (more, form), starts=32, delta=10.0)
    assert table["form"].to_list() == [repr(form), repr(more)]
    assert table["objective"][1] < table["objective"][0]


def test_left_out_error_is_that_of_a_fit_without_it():
    data = losses(scaling.PowerProductLaw(), noise=2e-3, seed=1)
    table = scaling.rank(data, [scaling.PowerProductLaw()], starts=30)
    errors = []
    for left in np.unique(P):
        kept = left != P
        law = scaling.fit(scaling.Losses(N[kept], P[kept], data.loss[kept]), scaling.PowerProductLaw(), starts=30)
        guess = law.predict(parameters=N[~kept], streams=P[~kept]).value
        errors.extend(np.log(data.loss[~kept] / guess))
    assert table["left_out_error"].item() == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-4)
    law = scaling.fit(data, scaling.PowerProductLaw(), starts=30)
    assert table.select("r2", "aic", "objective").row(0) == pytest.approx((law.r2, law.aic, law.objective))


def test_runs_can_be_left_out_one_by_one():
    table = scaling.rank(losses(scaling.ChinchillaLaw(), noise=1e-3), [scaling.ChinchillaLaw()], "runs", starts=5)
    assert 5e-4 < table["left_out_error"].item() < 2e-3


TWO = scaling.Losses([1e9, 2e9, 3e9, 4e9, 5e9], [1, 1, 2, 2, 2], [5, 4, 3, 2, 1])
SHORT = scaling.Losses([1e9, 2e9, 3e9, 4e9, 5e9], [1, 1, 2, 2, 4], [5, 4, 3, 2, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"forms": []}, r"forms: \[\]"),
        ({"forms": scaling.ParScaleLaw()}, r"forms: ParScaleLaw\(\)"),
        ({"forms": ["chinchilla"]}, "form: 'chinchilla'"),
        ({"leave_out": "size"}, "leave_out: 'size'"),
        ({"losses": TWO}, "leave_out: 'streams', must be 'runs' where there are only 2"),
        ({"losses": SHORT}, "losses: 5 runs, too few to leave out 2 and fit 4"),
        ({"starts": 0}, "starts: 0"),
    ],
)
def test_ranks_door(arguments, message):
    with pytest.raises(ValueError, match=message):
        scaling.rank(**({"losses": losses(scaling.ParScaleLaw()), "forms": THREE} | arguments))


def test_what_is_foretold_is_the_fit_without_it():
    """By hand: the run out of the data, the fit to the rest, its prediction there; and its own loss has no say."""
    runs = losses(scaling.ParScaleLaw(), noise=1e-3, seed=3)
    foretold = scaling.foretell(runs, starts=30)
    keep = np.arange(len(runs)) != 5
    rest = scaling.Losses(runs.parameters[keep], runs.streams[keep], runs.loss[keep], name="rest")
    law = scaling.fit(rest, starts=30)
    by_hand = law.predict(parameters=runs.parameters[5], streams=runs.streams[5]).value
    assert foretold[5] == pytest.approx(by_hand, rel=1e-7)
    np.testing.assert_allclose(foretold, runs.loss, rtol=2e-2)
    assert np.abs(foretold - runs.loss).max() > np.abs(scaling.fit(runs, starts=30).fitted - runs.loss).max()
    by_streams = scaling.foretell(runs, leave_out="streams", starts=30)
    table = scaling.rank(runs, (scaling.ParScaleLaw(),), starts=30)
    error = np.sqrt((np.log(runs.loss / by_streams) ** 2).mean())
    assert error == pytest.approx(table["left_out_error"][0], rel=1e-9)
