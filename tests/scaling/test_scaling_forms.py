"""Every form: its own parameters are found again, its gradients are right, streams are worth what it says they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scaling_table import CUSTOM, TRUTH, N, P, losses

from workbench import scaling

FORMS = list(TRUTH)


def test_the_table_has_a_row_for_every_form():
    assert set(scaling.FORMS) | {CUSTOM} == set(FORMS)


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_contract(form):
    truth = TRUTH[form]
    assert tuple(truth) == form.names
    assert len(form.starts) == len(form.lower) == len(form.names)
    law = scaling.fit(losses(form), form)
    assert law.status.converged
    assert not law.status.at_bound
    np.testing.assert_allclose(list(law.params.values()), list(truth.values()), rtol=1e-4)
    np.testing.assert_allclose(law.fitted, form.loss(truth, N, P), rtol=1e-9)
    assert law.r2 > 1 - 1e-9
    gradient = jax.grad(lambda params: form.loss(params, jnp.asarray(N), jnp.asarray(P)).sum())(truth)
    assert all(np.isfinite(value) and value != 0 for value in gradient.values())


@pytest.mark.parametrize("form", scaling.FORMS, ids=repr)
def test_equivalent_parameters_have_the_same_loss_with_one_stream(form):
    size = form.equivalent_parameters(TRUTH[form], N, P)
    np.testing.assert_allclose(form.loss(TRUTH[form], size, np.ones_like(P)), form.loss(TRUTH[form], N, P), rtol=1e-12)
    np.testing.assert_allclose(size[P == 1], N[P == 1], rtol=1e-12)


def test_no_size_may_do_what_streams_do():
    params = TRUTH[scaling.InverseRootLaw()] | {"G": 10.0}
    assert scaling.InverseRootLaw().equivalent_parameters(params, 1e9, 8.0) == np.inf


def test_one_stream_is_the_chinchilla_term():
    one, plain = np.ones_like(N), scaling.ChinchillaLaw()
    params = TRUTH[scaling.ParScaleLaw()] | {"rho": 0.3}
    for form in (scaling.ParScaleLaw(), scaling.TheoryLaw()):
        np.testing.assert_allclose(form.loss(params, N, one), plain.loss(params, N, one), rtol=1e-14)


def test_forms_are_values():
    assert scaling.ParScaleLaw() == scaling.ParScaleLaw() != scaling.TheoryLaw()
    assert len({scaling.ParScaleLaw(), scaling.ParScaleLaw(), scaling.TheoryLaw()}) == 2
    assert repr(CUSTOM) == "CustomLaw(_either_sign: E, A, a, slope)"
    twin = scaling.CustomLaw(CUSTOM.fn, CUSTOM.names, CUSTOM.starts, CUSTOM.lower)
    assert twin == CUSTOM
    assert hash(twin) == hash(CUSTOM)
    with pytest.raises(ValueError, match="does not say which size"):
        CUSTOM.equivalent_parameters({}, N, P)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fn": "L"}, "fn: 'L'"),
        ({"names": ()}, r"names: \(\)"),
        ({"names": "Ek"}, "names: 'Ek'"),
        ({"names": ("E", "E")}, r"names: \('E', 'E'\)"),
        ({"starts": {"E": [1.0]}}, r"starts: for \['E'\], must be for \['E', 'k'\]"),
        ({"starts": [[1.0]]}, "starts: 1 entries"),
        ({"starts": [[1.0], []]}, "starts: .* for 'k', must be one number at least"),
        ({"starts": [[1.0], [np.nan]]}, "starts: .* for 'k', must be finite"),
        ({"starts": [[1.0], [-1.0]]}, "starts: .* for 'k', .* none below 1e-08"),
        ({"lower": [0.0]}, "lower: 1 entries"),
    ],
)
def test_custom_laws_door(arguments, message):
    sound = {"fn": lambda params, N, P: params["E"], "names": ("E", "k"), "starts": [[1.0], [0.5]]}
    with pytest.raises(ValueError, match=message):
        scaling.CustomLaw(**(sound | arguments))
