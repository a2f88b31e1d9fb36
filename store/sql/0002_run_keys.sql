-- run_key is the run's second, counted from 2004, and up to eight hexadecimal digits of its id, 32 bits each. Before it had
-- room for six digits only, and two runs could share a key. A sync makes an older catalogue anew from the runs.
COMMENT ON COLUMN runs.run_key IS 'seconds since 2004-01-10 13:37:04 UTC * 2^32 + the hexadecimal digits of run_id';
