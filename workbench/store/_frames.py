"""Shapes of answers: the wide frame of metrics, and the curve that is thinned in SQL."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def wide(long: "pl.DataFrame", names: Sequence[str] | None) -> "pl.DataFrame":
    """(step, time, name, value) in the order of logging → step, time and a column a name, sorted by step.

    Names come in the order in which they first appear, or as `names` says. The last value of a step and name stands,
    and the last time of a step.
    """
    import polars as pl

    frame = long.group_by("step").agg(pl.col("time").last()).sort("step")
    parts = {key[0]: part for key, part in long.partition_by("name", maintain_order=True, as_dict=True).items()}
    for name in parts if names is None else names:
        column = parts[name].select("step", pl.col("value").alias(name))
        if column["step"].is_duplicated().any():
            column = column.unique("step", keep="last", maintain_order=True)
        frame = frame.join(column, on="step", how="left", maintain_order="left")
    return frame


def curve_source(table: str, resumed: bool) -> str:
    """SQL for (step, value) of run key $1 and name $2; with `resumed`, only the last value of each step."""
    rows = f"FROM {table} WHERE run_key = $1 AND name = $2"
    if not resumed:
        return f"SELECT step, value {rows}"
    return f"SELECT step, value {rows} QUALIFY row_number() OVER (PARTITION BY step ORDER BY rowid DESC) = 1"


def decimated(source: str, buckets: int) -> str:
    """SQL that keeps of each of `buckets` equal ranges of steps the smallest and the largest finite value.

    A range with NaN or infinity also gives the first of these, so that a gap stays a gap.
    """
    # Two passes, because the second one, over values that are not finite, is nearly always over nothing.
    return f"""
    WITH points AS NOT MATERIALIZED ({source}),
    bounds AS (SELECT min(step) AS lo, max(step)::DOUBLE - min(step) + 1 AS width FROM points),
    placed AS NOT MATERIALIZED (
        SELECT step, value, trunc((step::DOUBLE - lo) / width * {buckets})::INTEGER AS bucket FROM points, bounds
    ),
    ranges AS (
        SELECT arg_min(step, value) AS low, min(value) AS low_value,
            arg_max(step, value) AS high, max(value) AS high_value
        FROM placed WHERE isfinite(value) GROUP BY bucket
    ),
    gaps AS (
        SELECT min(step) AS step, arg_min(value, step) AS value FROM placed WHERE NOT isfinite(value) GROUP BY bucket
    )
    SELECT DISTINCT step, value FROM (
        SELECT low AS step, low_value AS value FROM ranges
        UNION ALL SELECT high, high_value FROM ranges
        UNION ALL SELECT step, value FROM gaps
    ) WHERE step IS NOT NULL ORDER BY step
    """
