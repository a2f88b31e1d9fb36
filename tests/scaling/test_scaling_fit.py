"""The fit: published constants, Huber by hand, starts, bounds, and what it refuses."""

import jax
import numpy as np
import pytest
from scaling_table import TRUTH, N, P, losses

import workbench
from workbench import scaling
from workbench.scaling import _descend, _fit

# Chen et al. 2025, figure 2; A in parameters. Objectives: the released fit's own 300 starts, run to the end.
PUBLISHED = {
    "parscale-stack": ({"E": 0.69124, "A": 1.1306e7, "alpha": 0.18937, "k": 0.39345}, 3.677e-5, 0.9978),
    "parscale-pile": ({"E": 1.28883, "A": 1.9730e8, "alpha": 0.19636, "k": 0.33442}, 1.814e-5, 0.9987),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_published_constants_come_out(name):
    params, objective, r2 = PUBLISHED[name]
    law = scaling.fit(scaling.published(name), form=scaling.ParScaleLaw(), starts=300)
    assert law.status.converged
    for parameter, value in params.items():
        assert law.params[parameter] == pytest.approx(value, rel=0.01)
    assert law.objective <= objective * 1.0005
    assert law.r2 == pytest.approx(r2, abs=5e-5)
    assert law.equivalent_parameters(1e9, [2, 4, 8]) == pytest.approx(1e9 * (1 + law.params["k"] * np.log([2, 4, 8])))


def test_default_precision_gives_the_same():
    """float64 inside, whatever JAX's default is, and the default is left as it was."""
    inside = scaling.fit(scaling.published("parscale-stack"))
    with jax.enable_x64(False):
        outside = scaling.fit(scaling.published("parscale-stack"))
        assert jax.numpy.ones(1).dtype == np.float32
        assert outside.predict(parameters=1.6e9, streams=8).value == inside.predict(parameters=1.6e9, streams=8).value
    assert dict(outside.params) == dict(inside.params)


def test_huber_by_hand():
    residuals = np.array([0.0, 5e-4, -1e-3, 2e-3, -1e-2])
    expected = [0.0, 1.25e-7, 5e-7, 1.5e-6, 9.5e-6]
    np.testing.assert_allclose(scaling.huber(residuals, 1e-3), expected, rtol=1e-12)
    law = scaling.fit(losses(scaling.ParScaleLaw(), noise=0.002))
    assert law.objective == pytest.approx(float(scaling.huber(law.residuals, 1e-3).sum()), rel=1e-9)


def test_a_large_delta_is_least_squares():
    law = scaling.fit(losses(scaling.PowerProductLaw(), noise=0.002), scaling.PowerProductLaw(), delta=10.0)
    assert law.objective == pytest.approx((law.residuals**2).sum() / 2, rel=1e-9)
    logs = law.form.loss
    with jax.enable_x64(True):
        J = jax.jacobian(lambda params: jax.numpy.log(logs(params, N, P)))(dict(law.params))
    for column in J.values():  # the normal equations
        assert abs(np.asarray(column) @ law.residuals) < 1e-6 * np.linalg.norm(column) * np.linalg.norm(law.residuals)


def test_one_wild_run_hardly_moves_it():
    clean = losses(scaling.ParScaleLaw())
    wild = clean.loss.copy()
    wild[5] *= 1.2
    law = scaling.fit(scaling.Losses(N, P, wild))
    assert law.params["k"] == pytest.approx(0.39, rel=0.03)
    assert abs(scaling.fit(scaling.Losses(N, P, wild), delta=10.0).params["k"] / 0.39 - 1) > 0.05


def test_a_law_without_streams_ends_at_the_bound_and_says_so():
    plain = losses(scaling.ChinchillaLaw())
    worse = scaling.Losses(N, P, plain.loss * (1 + 0.01 * np.log(P)))
    law = scaling.fit(worse)
    assert law.status.converged
    assert law.status.at_bound == ("k",)
    assert law.params["k"] == pytest.approx(1e-8)
    assert "k at the lower bound" in repr(law)


def test_starts_are_the_grid_or_a_drawn_part_of_it():
    form = scaling.ParScaleLaw()
    whole = _fit.grid(form, 300, seed=0)
    assert whole.shape == (300, 4)
    assert (_fit.grid(form, 1000, seed=0) == whole).all()
    part, again, other = (_fit.grid(form, 20, seed) for seed in (0, 0, 1))
    assert (part == again).all()
    assert (part != other).any()
    assert {tuple(row) for row in part} < {tuple(row) for row in whole}
    law = scaling.fit(losses(form), starts=20)
    assert law.status.starts == 20


def test_one_start_of_a_plain_optimiser_ends_in_the_wrong_place_and_ours_does_not():
    """L-BFGS-B with finite differences, from one point of the grid: E = 1e-8, an objective over ten times higher."""
    from scipy.optimize import minimize

    data = scaling.published("parscale-stack")
    start = np.array([np.exp(-1), np.exp(4), 0.5, 0.2])

    def objective(x):
        params = dict(zip(scaling.ParScaleLaw().names, x * [1, 1e9, 1, 1], strict=True))
        error = np.log(data.loss) - np.log(params["E"] + (params["A"] / _worth(params["k"], data)) ** params["alpha"])
        return float(scaling.huber(error, 1e-3).sum())

    end = minimize(objective, start, method="L-BFGS-B", bounds=[(1e-8, None)] * 4)
    assert end.x[0] < 1e-7
    assert end.fun > 10 * PUBLISHED["parscale-stack"][1]
    phi = _descend.phi_of(scaling.ParScaleLaw(), start[None] * [1, 1e9, 1, 1])
    mine = _descend.descend(scaling.ParScaleLaw(), _fit.observed(data), phi, 1e-3)
    assert mine.objective[0] < 1.001 * PUBLISHED["parscale-stack"][1]
    assert scaling.fit(data).status.reached > 270


def _worth(k, data):
    return data.parameters * (k * np.log(data.streams) + 1)


def test_not_converged_is_raised_or_returned():
    nowhere = scaling.CustomLaw(lambda params, N, P: -params["E"] + 0 * N, ("E",), [[1.0]])
    with pytest.raises(workbench.NotConverged, match="not converged") as caught:
        scaling.fit(losses(scaling.ParScaleLaw()), nowhere)
    assert not caught.value.result.status.converged
    law = scaling.fit(losses(scaling.ParScaleLaw()), nowhere, on_failure="return")
    assert law.objective == np.inf
    assert not law.status.converged
    assert law.status.reached == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"losses": [1.0]}, "losses: list"),
        ({"form": "parscale"}, "form: 'parscale'"),
        ({"starts": 0}, "starts: 0"),
        ({"starts": 2.5}, "starts: 2.5"),
        ({"starts": True}, "starts: True"),
        ({"delta": 0.0}, "delta: 0.0"),
        ({"delta": float("nan")}, "delta: nan"),
        ({"seed": -1}, "seed: -1"),
        ({"on_failure": "ignore"}, "on_failure: 'ignore'"),
        ({"losses": scaling.Losses([1e9, 2e9, 3e9, 4e9], [1] * 4, [4, 3, 2, 1])}, "losses: all with 1 streams"),
        (
            {
                "losses": scaling.Losses([1e9, 2e9, 3e9, 4e9], [1, 1, 2, 2], [4, 3, 2, 1]),
                "form": scaling.CustomLaw(lambda p, N, P: N, ("a", "b", "c", "d", "e"), [[1.0]] * 5),
            },
            "losses: 4 runs, must be at least as many",
        ),
    ],
)
def test_fits_door(arguments, message):
    with pytest.raises(ValueError, match=message):
        scaling.fit(**({"losses": losses(scaling.ParScaleLaw())} | arguments))


def test_sizes_alone_need_no_streams():
    one = P == 1
    plain = scaling.Losses(N[one], P[one], losses(scaling.ChinchillaLaw()).loss[one])
    assert scaling.fit(plain, scaling.ChinchillaLaw()).params["alpha"] == pytest.approx(
        TRUTH[scaling.ChinchillaLaw()]["alpha"]
    )
