-- How messages arrive, by the minute in which the provider was called. The verifier counts them out of the audit, away from
-- every sign-in, and counts a minute again as it grows older, because reports and typed codes come later. Kept for 90 days.
CREATE TABLE channel_minutes (
    minute      timestamptz NOT NULL,
    channel     text NOT NULL,
    provider    text NOT NULL,
    destination text NOT NULL,                         -- country or mailbox provider; empty when not on record
    sent        integer NOT NULL,
    accepted    integer NOT NULL,
    delivered   integer NOT NULL,
    failed      integer NOT NULL,
    codes       integer NOT NULL,                      -- of accepted: those that carry a code
    verified    integer NOT NULL,
    accepted_in integer[] NOT NULL,                    -- codes by the time to acceptance, in the bins of pkg/health ...
    delivered_in integer[] NOT NULL,                   -- ... and to delivery
    PRIMARY KEY (minute, channel, provider, destination)
);

-- Which minutes were counted, and when they are to be counted again.
CREATE TABLE channel_rounds (
    minute     timestamptz PRIMARY KEY,
    counted_at timestamptz,
    next_at    timestamptz                             -- NULL: never again
);
CREATE INDEX channel_rounds_next ON channel_rounds (next_at) WHERE next_at IS NOT NULL;

-- What waits for its first call, by channel, as it was at a moment.
CREATE TABLE channel_queues (
    channel text PRIMARY KEY,
    at      timestamptz NOT NULL,
    waiting integer NOT NULL,
    oldest  timestamptz                                -- when the longest waiting one was asked for; NULL: none waits
);

-- The calls of a minute. The BRIN index knows a range of pages only when a vacuum has been there, and so not the last hours.
CREATE INDEX audit_attempted ON audit (at) WHERE kind = 'delivery.v1.attempted';
GRANT SELECT, INSERT, UPDATE, DELETE ON channel_minutes, channel_rounds, channel_queues TO doorcode_verifier;

-- Puts on record that somebody looked at the audit itself, and what they asked for.
CREATE FUNCTION record_audit_shown(operator text, about jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF operator IS NULL OR about IS NULL OR operator !~ '^[A-Za-z0-9._~-]{1,64}$' OR octet_length(about::text) > 1024 THEN
        RAISE EXCEPTION 'not a look at the audit' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO audit (id, at, kind, workspace, actor, detail)
    VALUES ('audit-shown.' || gen_random_uuid(), clock_timestamp(), 'audit.v1.shown', nullif(about ->> 'workspace', ''), operator,
            about || jsonb_build_object('role', session_user));
END $$;
REVOKE ALL ON FUNCTION record_audit_shown(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_audit_shown(text, jsonb) TO doorcode_console;

-- What the console's pages of figures read: counts, and of the roll-out who is in which stage. It has no key to check the
-- rows with, decides nothing by them and says so.
GRANT SELECT ON channel_minutes, channel_rounds, channel_queues TO doorcode_console;
GRANT SELECT (id) ON workspaces TO doorcode_console;
GRANT SELECT ON rollout_waves, rollout_places, rollout_exemptions, rollout_holds, rollout_gates, rollout_postponements TO doorcode_console;
GRANT SELECT (workspace, ended_at, outcome) ON sign_ins TO doorcode_console;
