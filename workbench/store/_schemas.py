"""The shapes of the public frames and of runs from outside, as dataframely schemas; imported only for a check."""

import dataframely as dy

STATUSES = ["running", "finished", "failed", "interrupted", "crashed"]


class Runs(dy.Schema):
    """`Log.runs()`."""

    run_id = dy.String(primary_key=True, regex=r"^\d{8}-\d{6}-.+-[0-9a-f]{6,12}$")
    run_no = dy.Int64(nullable=True, min=1)
    study = dy.String(min_length=1)
    status = dy.String(check=lambda column: column.is_in(STATUSES))
    started = dy.Datetime(time_unit="us")
    finished = dy.Datetime(nullable=True, time_unit="us")
    wall_s = dy.Float64(nullable=True, min=0)
    cpu_s = dy.Float64(nullable=True, min=0)
    peak_memory_bytes = dy.Int64(nullable=True, min=0)
    seed = dy.Int64(nullable=True)
    git_commit = dy.String(nullable=True)
    git_dirty = dy.Bool(nullable=True)
    command = dy.String(nullable=True)
    machine_id = dy.String(nullable=True)
    host = dy.String(nullable=True)
    config = dy.String(nullable=True)
    tags = dy.List(dy.String())
    note = dy.String()
    n_rows = dy.Int64(min=0)
    error = dy.String(nullable=True)
    load_avg = dy.Float64(nullable=True)
    python = dy.String(nullable=True)
    origin = dy.String(nullable=True)


class Summary(dy.Schema):
    """`Log.summary()`; lo and hi are over finite values, so a metric without any has none."""

    run_id = dy.String(primary_key=True)
    name = dy.String(primary_key=True)
    n = dy.Int64(min=1)
    last_step = dy.Int64()
    last = dy.Float64(allow_inf=True, allow_nan=True)
    lo = dy.Float64(nullable=True)
    hi = dy.Float64(nullable=True)


class Curve(dy.Schema):
    """`Log.curve(...)`."""

    step = dy.Int64()
    value = dy.Float64(allow_inf=True, allow_nan=True)


class Metrics(dy.Schema):
    """The first two columns of `Log.metrics(...)`; each further one is a metric (float64, or null)."""

    step = dy.Int64(primary_key=True)
    time = dy.Float64()


class Papers(dy.Schema):
    """`Log.papers()`."""

    paper_id = dy.String(primary_key=True)
    title = dy.String(nullable=True)
    authors = dy.String(nullable=True)
    year = dy.Int32(nullable=True)
    link = dy.String(nullable=True)
    bibtex = dy.String(nullable=True)
    topic = dy.String(nullable=True)
    summary = dy.String(nullable=True)
    extra = dy.String(nullable=True)


class Claims(dy.Schema):
    """`Log.claims()`."""

    claim_id = dy.String(primary_key=True, min_length=3)
    paper_id = dy.String()
    statement = dy.String(nullable=True)
    kind = dy.String(nullable=True)
    source = dy.String(nullable=True)
    quantity = dy.String(nullable=True)
    unit = dy.String(nullable=True)
    published_text = dy.String(nullable=True)
    published = dy.Float64(nullable=True)
    published_lo = dy.Float64(nullable=True)
    published_hi = dy.Float64(nullable=True)
    evidence = dy.String(nullable=True)
    verified = dy.Bool(nullable=True)
    tol_rel = dy.Float64(nullable=True, allow_inf=True)
    tol_abs = dy.Float64(nullable=True, allow_inf=True)
    tol_reason = dy.String(nullable=True)
    scope = dy.String(nullable=True)
    row = dy.String(nullable=True)
    claim_hash = dy.String(min_length=1)


class Results(dy.Schema):
    """`Log.results()`."""

    result_id = dy.String(primary_key=True)
    claim_id = dy.String()
    paper_id = dy.String(nullable=True)
    run_id = dy.String()
    created_at = dy.Datetime(time_unit="us")
    measured = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    measured_lo = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    measured_hi = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    n_seeds = dy.Int32(nullable=True, min=0)
    modelled = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    modelled_lo = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    modelled_hi = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    published = dy.Float64(nullable=True)
    ratio = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    rel_err = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    within_tol = dy.Bool(nullable=True)
    negative_control_failed = dy.Bool(nullable=True)
    verdict = dy.String(nullable=True)
    verdict_reason = dy.String(nullable=True)
    evidence = dy.String(nullable=True)
    seconds = dy.Float64(nullable=True)
    preset = dy.String(nullable=True)
    conditions_here = dy.String(nullable=True)
    claim_hash = dy.String(nullable=True)
    control = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    outcome = dy.String(nullable=True)


class Machines(dy.Schema):
    """`Log.machines()`."""

    machine_id = dy.String(primary_key=True)
    host = dy.String(nullable=True)
    os = dy.String(nullable=True)
    cpu = dy.String(nullable=True)
    cores = dy.Int32(nullable=True, min=1)
    memory_bytes = dy.Int64(nullable=True, min=0)
    gpus = dy.List(dy.String(), nullable=True)
    runs = dy.Int64(min=1)
    first_run = dy.Datetime(time_unit="us")
    last_run = dy.Datetime(time_unit="us")


class ImportedMetrics(dy.Schema):
    """The metrics of a run from another tracker, before they are written; in the order in which they were logged."""

    name = dy.String(min_length=1, max_length=500, check=lambda column: ~column.is_in(["step", "time"]))
    step = dy.Int64()
    time = dy.Float64(min=0)
    value = dy.Float64(allow_inf=True, allow_nan=True)
