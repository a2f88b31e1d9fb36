"""Any name, any value, any step: what goes in comes out, live and synced."""

import math
import tempfile

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench import store
from workbench.store import _format

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12).filter(
    lambda name: name not in ("step", "time")
)
VALUES = st.floats(allow_nan=True, allow_infinity=True)
STEPS = st.integers(-(2**63), 2**63 - 2)
FAST = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def same(a, b):
    return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (math.isnan(a) and math.isnan(b))


@FAST
@given(st.lists(st.tuples(STEPS, st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)), min_size=1, max_size=6))
def test_round_trip(calls):
    expected = {}
    for step, metrics in calls:
        expected.setdefault(step, {}).update(metrics)
    with tempfile.TemporaryDirectory() as root:
        with store.run("any", path=root) as run:
            for step, metrics in calls:
                run.log(step=step, **metrics)
        check_run(root, run.id, expected)
        store.sync(root)
        check_run(root, run.id, expected)


def check_run(root, run_id, expected):
    with store.open(root) as log:
        frame = log.metrics(run_id)
        summary = {row["name"]: row for row in log.summary(run_id).iter_rows(named=True)}
    assert frame["step"].to_list() == sorted(expected)
    for row in frame.iter_rows(named=True):
        found = {name: value for name, value in row.items() if name not in ("step", "time") and value is not None}
        assert found.keys() == expected[row["step"]].keys()
        assert all(same(value, expected[row["step"]][name]) for name, value in found.items())
    for name, row in summary.items():
        steps = [step for step in expected if name in expected[step]]
        assert row["last_step"] == max(steps)
        assert same(row["last"], expected[max(steps)][name])


@FAST
@given(st.dictionaries(NAMES, st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=3))
def test_log_many_equals_log(columns):
    with tempfile.TemporaryDirectory() as root:
        with store.run("many", path=root) as many:
            many.log_many(**columns)
        with store.run("one", path=root) as one:
            for row in range(3):
                one.log(**{name: values[row] for name, values in columns.items()})
        with store.open(root) as log:
            first, second = (log.metrics(run.id).drop("time") for run in (many, one))
            assert first.equals(second)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_plain_leaves_json_as_it_is(value):
    """But for lone surrogates, which no file can hold."""
    import json

    text = _format.dumps(value)
    assert text.encode().decode() == text
    if not any("\ud800" <= letter <= "\udfff" for letter in json.dumps(value, ensure_ascii=False)):
        assert json.loads(text) == value


def test_finite_floats_are_written_as_they_are():
    @given(VALUES)
    def check(value):
        text = _format.float_text(value)
        assert same(float(text), value)

    check()
