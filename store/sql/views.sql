-- What a reader sees: the attached catalogue (cat), with the live runs (live_*) beside it, without deleted runs.
-- A resumed run may stand in both; then the live one wins. `annotated` holds the folded annotations, a row a run.

CREATE OR REPLACE VIEW all_runs AS
SELECT *, row_number() OVER (ORDER BY run_id) AS run_no FROM cat.runs
    WHERE run_key NOT IN (SELECT run_key FROM live_runs)
UNION ALL
SELECT *, NULL FROM live_runs;

CREATE OR REPLACE VIEW runs AS
SELECT r.run_id, r.run_no, r.study, r.status, r.started, r.finished, r.wall_s, r.cpu_s, r.peak_memory_bytes, r.seed,
    r.git_commit, r.git_dirty, r.command, r.machine_id, r.host, r.config,
    list_sort(list_distinct(list_filter(
        list_concat(coalesce(r.tags, []), coalesce(a.added, [])),
        lambda tag: NOT list_contains(coalesce(a.removed, []), tag)
    ))) AS tags,
    coalesce(a.note, r.note, '') AS note,
    r.n_rows, r.error, r.load_avg, r.python, r.origin
FROM all_runs r LEFT JOIN annotated a USING (run_id)
WHERE NOT coalesce(a.deleted, false);

CREATE OR REPLACE VIEW shown AS
SELECT run_key, run_id FROM all_runs WHERE run_id NOT IN (SELECT run_id FROM annotated WHERE deleted);

CREATE OR REPLACE VIEW metrics AS
SELECT shown.run_id, m.name, m.step, m.time, m.value
FROM (
    SELECT * FROM cat.metrics WHERE run_key NOT IN (SELECT run_key FROM live_runs)
    UNION ALL
    SELECT * FROM live_metrics
) m JOIN shown USING (run_key);

CREATE OR REPLACE VIEW summary AS
SELECT shown.run_id, s.name, s.n, s.last_step, s.last, s.lo, s.hi
FROM (
    SELECT * FROM cat.summary WHERE run_key NOT IN (SELECT run_key FROM live_runs)
    UNION ALL
    SELECT * FROM live_summary
) s JOIN shown USING (run_key);

CREATE OR REPLACE VIEW machines AS
SELECT * EXCLUDE (run_key, seen) FROM (
    SELECT * FROM cat.machines UNION ALL SELECT * FROM live_machines
) QUALIFY row_number() OVER (PARTITION BY machine_id ORDER BY seen DESC, run_key DESC) = 1;

-- Claims belong to a paper, so they outlive the deletion of the run that brought them; its results do not.
CREATE OR REPLACE VIEW newest_papers AS
SELECT * FROM (
    SELECT * FROM cat.papers WHERE run_key NOT IN (SELECT run_key FROM live_runs)
    UNION ALL
    SELECT * FROM live_papers
) QUALIFY row_number() OVER (PARTITION BY paper_id ORDER BY seen DESC, run_key DESC) = 1;

CREATE OR REPLACE VIEW papers AS SELECT * EXCLUDE (run_key, seen) FROM newest_papers;

CREATE OR REPLACE VIEW claims AS
SELECT c.* EXCLUDE (run_key, seen) FROM (
    SELECT * FROM cat.claims WHERE run_key NOT IN (SELECT run_key FROM live_runs)
    UNION ALL
    SELECT * FROM live_claims
) c JOIN newest_papers p ON c.paper_id = p.paper_id AND c.run_key = p.run_key;

CREATE OR REPLACE VIEW results AS
SELECT * EXCLUDE (run_key) FROM (
    SELECT * FROM cat.results WHERE run_key NOT IN (SELECT run_key FROM live_runs)
    UNION ALL
    SELECT * FROM live_results
) WHERE run_key IN (SELECT run_key FROM shown);

CREATE OR REPLACE VIEW results_latest AS
SELECT * FROM results QUALIFY row_number() OVER (PARTITION BY claim_id ORDER BY created_at DESC, result_id DESC) = 1;

CREATE OR REPLACE VIEW claims_latest AS
SELECT c.*,
    coalesce(r.verdict, CASE WHEN c.evidence = 'published' THEN 'not testable' ELSE 'untested' END) AS verdict,
    r.* EXCLUDE (claim_id, paper_id, published, evidence, verdict, claim_hash),
    r.claim_hash IS NOT NULL AND r.claim_hash <> c.claim_hash AS stale
FROM claims c LEFT JOIN results_latest r USING (claim_id);

CREATE OR REPLACE VIEW claims_by_paper AS
SELECT paper_id, verdict, count(*) AS n FROM claims_latest GROUP BY ALL;

CREATE OR REPLACE VIEW drift AS
SELECT claim_id, run_id, created_at, previous_run_id, previous_verdict, verdict FROM (
    SELECT claim_id, run_id, created_at, verdict,
        lag(run_id) OVER earlier AS previous_run_id, lag(verdict) OVER earlier AS previous_verdict
    FROM results WINDOW earlier AS (PARTITION BY claim_id ORDER BY created_at, result_id)
) WHERE previous_verdict <> verdict;
