-- The catalogue. A run is named by run_id; run_key is the same name as a number (its second and its six hexadecimal
-- digits), so that the tables do not depend on the order in which runs were ingested. Times are UTC.

CREATE TABLE runs (
    run_key BIGINT PRIMARY KEY,
    run_id VARCHAR NOT NULL,
    study VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    started TIMESTAMP,
    finished TIMESTAMP,
    wall_s DOUBLE,
    cpu_s DOUBLE,
    peak_memory_bytes BIGINT,
    seed BIGINT,
    git_commit VARCHAR,
    git_dirty BOOLEAN,
    command VARCHAR,
    machine_id VARCHAR,
    host VARCHAR,
    load_avg DOUBLE,
    python VARCHAR,
    config JSON,
    tags VARCHAR[],
    note VARCHAR,
    origin VARCHAR,
    error VARCHAR,
    n_rows BIGINT,
    segments INTEGER,
    bytes BIGINT
);

-- In the order in which they were logged: of two values with the same run, name and step the later row wins.
CREATE TABLE metrics (run_key BIGINT, name VARCHAR, step BIGINT, time DOUBLE, value DOUBLE);

-- One row a run and name: what a table of runs shows, without a scan of the metrics. lo and hi are over finite values.
CREATE TABLE summary (
    run_key BIGINT, name VARCHAR, n BIGINT, last_step BIGINT, last DOUBLE, lo DOUBLE, hi DOUBLE
);

CREATE TABLE machines (
    machine_id VARCHAR PRIMARY KEY,
    host VARCHAR,
    os VARCHAR,
    cpu VARCHAR,
    cores INTEGER,
    memory_bytes BIGINT,
    gpus VARCHAR[],
    run_key BIGINT,
    seen TIMESTAMP
);

-- A paper and its claims as the newest run that tested the paper saw them; run_key names that run, and seen is when it began.
CREATE TABLE papers (
    paper_id VARCHAR PRIMARY KEY,
    title VARCHAR,
    authors VARCHAR,
    year INTEGER,
    link VARCHAR,
    bibtex VARCHAR,
    topic VARCHAR,
    summary VARCHAR,
    extra JSON,
    run_key BIGINT,
    seen TIMESTAMP
);

CREATE TABLE claims (
    claim_id VARCHAR PRIMARY KEY,
    paper_id VARCHAR NOT NULL,
    statement VARCHAR,
    kind VARCHAR,
    source VARCHAR,
    quantity VARCHAR,
    unit VARCHAR,
    published_text VARCHAR,
    published DOUBLE,
    published_lo DOUBLE,
    published_hi DOUBLE,
    evidence VARCHAR,
    verified BOOLEAN,
    tol_rel DOUBLE,
    tol_abs DOUBLE,
    tol_reason VARCHAR,
    scope VARCHAR,
    "row" JSON,
    claim_hash VARCHAR,
    run_key BIGINT,
    seen TIMESTAMP
);

CREATE TABLE results (
    result_id VARCHAR PRIMARY KEY,
    claim_id VARCHAR NOT NULL,
    paper_id VARCHAR,
    run_id VARCHAR NOT NULL,
    created_at TIMESTAMP,
    measured DOUBLE,
    measured_lo DOUBLE,
    measured_hi DOUBLE,
    n_seeds INTEGER,
    modelled DOUBLE,
    modelled_lo DOUBLE,
    modelled_hi DOUBLE,
    published DOUBLE,
    ratio DOUBLE,
    rel_err DOUBLE,
    within_tol BOOLEAN,
    negative_control_failed BOOLEAN,
    verdict VARCHAR,
    verdict_reason VARCHAR,
    evidence VARCHAR,
    seconds DOUBLE,
    preset VARCHAR,
    conditions_here JSON,
    claim_hash VARCHAR,
    control DOUBLE,
    outcome JSON,
    run_key BIGINT
);
