-- Which transaction wrote a row of the audit. A seal takes the rows of all transactions below a number under which none is
-- under way any more, so that every row belongs to exactly one seal, whatever its event's time and in whatever order
-- transactions commit. Rows from before this column are NULL and belong to the first seal. Nothing is rewritten: a default
-- that comes after the column is that of new rows alone.
ALTER TABLE audit ADD COLUMN tx bigint;
ALTER TABLE audit ALTER COLUMN tx SET DEFAULT pg_current_xact_id()::text::bigint;
CREATE INDEX audit_tx ON audit USING brin (tx) WITH (pages_per_range = 32, autosummarize = on);

-- No runtime role says itself which transaction wrote a row.
REVOKE INSERT ON audit FROM doorcode_auth, doorcode_verifier;
GRANT INSERT (id, at, kind, workspace, login, challenge_id, actor, detail) ON audit TO doorcode_auth, doorcode_verifier;

-- One seal: the signed head of the Merkle tree (RFC 6962) of all rows up to it. Append-only for every role, kept for ever.
CREATE TABLE audit_seals (
    n         bigint PRIMARY KEY CHECK (n > 0),
    from_tx   bigint NOT NULL,
    to_tx     bigint NOT NULL CHECK (to_tx >= from_tx),
    at        timestamptz NOT NULL,                    -- when it was made
    rows      bigint NOT NULL CHECK (rows >= 0),
    newest    timestamptz,                             -- time of its newest row; NULL when it has none
    tree_size bigint NOT NULL CHECK (tree_size >= rows),
    root      bytea NOT NULL CHECK (octet_length(root) = 32),
    frontier  bytea NOT NULL,                          -- the roots of the maximal complete subtrees, the largest first
    key_id    text NOT NULL,
    signature bytea NOT NULL                           -- Ed25519, over all of the above but the frontier
);

-- The leaves of a seal in their order: time, id and hash of each row, so that one that is missing can be named.
CREATE TABLE audit_leaves (
    seal bigint NOT NULL,
    part integer NOT NULL,
    list bytea NOT NULL,
    PRIMARY KEY (seal, part)
);
ALTER TABLE audit_leaves ALTER COLUMN list SET STORAGE EXTERNAL; -- Hashes do not get smaller.

GRANT SELECT, INSERT ON audit_seals, audit_leaves TO doorcode_verifier;
GRANT SELECT ON audit_seals, audit_leaves TO doorcode_auditor;

-- Puts on record that a verification of the audit began or ended, as record_audit_export does for an export.
CREATE FUNCTION record_audit_verification(run text, step text, operator text, about jsonb) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    prefix text := 'audit-verification.' || run || '.';
    moment timestamptz := clock_timestamp();
BEGIN
    IF run !~ '^[A-Z2-7]{26}$' OR step NOT IN ('began', 'ended') OR operator !~ '^[A-Za-z0-9._~-]{1,64}$'
       OR octet_length(about::text) > 4096 OR num_nulls(run, step, operator, about) > 0 THEN
        RAISE EXCEPTION 'not a verification of the audit' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT FROM audit WHERE id = prefix || step)
       OR step = 'ended' AND NOT EXISTS (SELECT FROM audit WHERE id = prefix || 'began' AND actor = operator) THEN
        RAISE EXCEPTION 'the verification did not begin or has ended' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO audit (id, at, kind, actor, detail)
    VALUES (prefix || step, moment, 'audit_verification.v1.' || step, operator,
            about || jsonb_build_object('verification', run, 'role', session_user));
    RETURN moment;
END $$;
REVOKE ALL ON FUNCTION record_audit_verification(text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_audit_verification(text, text, text, jsonb) TO doorcode_auditor;

-- How many days of the audit are kept. Only the owner changes it.
CREATE TABLE audit_keep (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    days integer NOT NULL DEFAULT 400 CHECK (days BETWEEN 30 AND 36500)
);
INSERT INTO audit_keep DEFAULT VALUES;

-- Which days are gone, and when they went. The rows of a seal that is older than the drop of their day are not missing.
CREATE TABLE audit_drops (
    day  date PRIMARY KEY,
    at   timestamptz NOT NULL,
    rows bigint NOT NULL
);
GRANT SELECT ON audit_keep, audit_drops TO doorcode_verifier, doorcode_auditor;

-- Drops the oldest day of the audit that is older than the days that are kept and has no row without a seal, puts that on
-- record, and removes the lists of seals that have no row left; never a seal. It returns how many days it dropped, one or
-- none. It belongs to the owner and has no argument, so that whoever calls it can drop nothing else. What waits behind its
-- lock waits a second at most. (A DEFAULT partition is there, so that DETACH cannot be CONCURRENTLY.)
CREATE FUNCTION drop_audit_days() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    kept   date := (now() AT TIME ZONE 'UTC')::date - (SELECT greatest(days, 30) FROM audit_keep);
    moment timestamptz := clock_timestamp();
    sealed bigint;
    part   text;
    gone   date;
    held   bigint;
    open   bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('doorcode audit partitions'));
    FOR part, gone IN
        SELECT c.relname, to_date(substr(c.relname, 7), 'YYYYMMDD')
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'audit'::regclass AND c.relname ~ '^audit_[0-9]{8}$' ORDER BY c.relname LOOP
        EXIT WHEN gone >= kept;
        EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', part); -- Nobody writes into it from here on.
        SELECT max(to_tx) INTO sealed FROM audit_seals;
        EXECUTE format('SELECT count(*), count(*) FILTER (WHERE $1 IS NULL OR tx >= $1) FROM %I', part) INTO held, open USING sealed;
        CONTINUE WHEN open > 0;
        EXECUTE format('ALTER TABLE audit DETACH PARTITION %I', part);
        EXECUTE format('DROP TABLE %I', part);
        INSERT INTO audit_drops (day, at, rows) VALUES (gone, moment, held)
        ON CONFLICT (day) DO UPDATE SET at = excluded.at, rows = audit_drops.rows + excluded.rows;
        INSERT INTO audit (id, at, kind, actor, detail)
        VALUES ('audit-retention.' || to_char(gone, 'YYYY-MM-DD'), moment, 'audit_retention.v1.dropped', 'doorcode/verifier',
                jsonb_build_object('day', gone, 'rows', held));
        DELETE FROM audit_leaves l USING audit_seals s
         WHERE s.n = l.seal AND s.newest < (gone + 1)::timestamp AT TIME ZONE 'UTC'
           AND s.newest < (SELECT min(to_date(substr(c.relname, 7), 'YYYYMMDD'))::timestamp AT TIME ZONE 'UTC'
                             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                            WHERE i.inhparent = 'audit'::regclass AND c.relname ~ '^audit_[0-9]{8}$')
           AND NOT EXISTS (SELECT FROM audit_default);
        RETURN 1;
    END LOOP;
    RETURN 0;
END $$;
REVOKE ALL ON FUNCTION drop_audit_days() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_audit_days() TO doorcode_verifier;
