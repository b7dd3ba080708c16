-- The console's role reads what its pages show and writes nothing: what it has to put on record goes through functions of
-- the owner, each of which writes one kind of row. It cannot see a digest, an envelope, a tag or a full address.
GRANT USAGE ON SCHEMA public TO doorcode_console;

-- Who may sign in to the console. The operator's command writes it; there is none by default. A row says who sees what, so
-- it carries a MAC, under the console's own keys: the console needs no other ring then.
CREATE TABLE operators (
    id          text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),  -- also the login that gets the codes
    role        text NOT NULL CHECK (role IN ('operator', 'auditor', 'support', 'owner')),
    workspaces  text[],                                -- NULL: all; an owner has some
    secret_hash bytea NOT NULL,                        -- HMAC of the secret under a key outside the database
    secret_key  smallint NOT NULL,                     -- id of that key
    made_at     timestamptz NOT NULL DEFAULT now(),
    mac_key     smallint NOT NULL,
    mac         bytea NOT NULL,                        -- over every column above but made_at
    CHECK (role <> 'owner' OR workspaces IS NOT NULL)
);
GRANT SELECT ON operators TO doorcode_console;

-- Challenges as a story tells them: recipients are masks, and there is nothing to check or send with.
CREATE VIEW told_challenges WITH (security_barrier) AS
SELECT id, workspace, login, front_end, purpose, label, support_reference,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('channel', r -> 'channel', 'recipient', r -> 'recipient') ORDER BY n), '[]')
          FROM jsonb_array_elements(CASE jsonb_typeof(routes) WHEN 'array' THEN routes ELSE '[]' END) WITH ORDINALITY AS e (r, n)) AS routes,
       send_routes, state, reason, created_at, expires_at
  FROM challenges;
GRANT SELECT ON told_challenges TO doorcode_console;

-- The audit is free of codes and of recipients in clear.
GRANT SELECT ON audit TO doorcode_console;

-- What the search finds by. A challenge's own row lives a day and its reference thirty, so it is found in the audit. The
-- indexes hold rows that the recorder writes, so that neither create nor check pays for them.
CREATE INDEX audit_issued_reference ON audit ((detail ->> 'support_reference'), at) WHERE kind = 'challenge.v1.issued';
CREATE INDEX audit_issued_workspace ON audit (workspace, at) WHERE kind = 'challenge.v1.issued';
CREATE INDEX audit_issued ON audit (at) WHERE kind = 'challenge.v1.issued';
CREATE INDEX audit_provider_id ON audit ((detail ->> 'provider_id'), at) WHERE kind = 'delivery.v1.attempted';
CREATE INDEX audit_notices ON audit (at) WHERE kind = 'notice.v1.requested';

-- Puts on record that somebody was shown the story of a challenge, or asked for one and nothing was there.
CREATE FUNCTION record_shown(operator text, of_workspace text, of_login text, of_challenge text, about jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF operator IS NULL OR about IS NULL OR operator !~ '^[A-Za-z0-9._~-]{1,64}$' OR octet_length(about::text) > 4096
       OR length(of_workspace) > 64 OR length(of_login) > 64 OR length(of_challenge) > 64 THEN
        RAISE EXCEPTION 'not a look at a challenge' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
    VALUES ('shown.' || gen_random_uuid(), clock_timestamp(), 'challenge.v1.shown', of_workspace, of_login, of_challenge, operator,
            jsonb_strip_nulls(about || jsonb_build_object('role', session_user)));
END $$;
REVOKE ALL ON FUNCTION record_shown(text, text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_shown(text, text, text, text, jsonb) TO doorcode_console;

-- Puts on record that an operator's session began or ended, and when. A session is named after the challenge that its
-- code was of, so that a code begins one session at most; one that has ended on record is over in every process, also
-- after a restart. Only who is listed begins one.
CREATE FUNCTION record_operator_session(session text, step text, operator text) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    prefix text := 'operator-session.' || session || '.';
    moment timestamptz;
BEGIN
    IF num_nulls(session, step, operator) > 0 OR session !~ '^[A-Za-z0-9_-]{22}$' OR step NOT IN ('began', 'ended') THEN
        RAISE EXCEPTION 'not a session of an operator' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(prefix, 0));
    moment := clock_timestamp();
    IF step = 'began' AND (EXISTS (SELECT FROM audit a WHERE a.id = prefix || 'began' AND a.at > moment - interval '2 days')
                           OR NOT EXISTS (SELECT FROM operators o WHERE o.id = operator))
       OR step = 'ended' AND NOT EXISTS (SELECT FROM audit a WHERE a.id = prefix || 'began' AND a.actor = operator AND a.at > moment - interval '2 days') THEN
        RAISE EXCEPTION 'the session began before, or did not' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF step = 'began' OR NOT EXISTS (SELECT FROM audit a WHERE a.id = prefix || 'ended' AND a.at > moment - interval '2 days') THEN
        INSERT INTO audit (id, at, kind, actor, detail)
        VALUES (prefix || step, moment, 'operator_session.v1.' || step, operator, jsonb_build_object('role', session_user));
    END IF;
    RETURN moment;
END $$;
REVOKE ALL ON FUNCTION record_operator_session(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_operator_session(text, text, text) TO doorcode_console;

-- The one that support has sent again is found by its id; auth makes the handle of it.
GRANT SELECT (stream_number, stream_sequence, front_end) ON challenges TO doorcode_auth;
