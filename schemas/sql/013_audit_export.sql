-- Whoever exports the audit: reads it, and can write that it was exported, nothing else. The role has a password only when
-- migrate was given one.
GRANT USAGE ON SCHEMA public TO doorcode_auditor;
GRANT SELECT ON audit TO doorcode_auditor;

-- Puts on record that an export began or ended, and when. It belongs to the owner, so that no other row can be written
-- that way: the auditor has no INSERT. An export ends once, by whom began it; the record says as which role it was made.
CREATE FUNCTION record_audit_export(export text, step text, operator text, about jsonb) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    prefix text := 'audit-export.' || export || '.';
    moment timestamptz := clock_timestamp();
BEGIN
    IF export !~ '^[A-Z2-7]{26}$' OR step NOT IN ('began', 'ended') OR operator !~ '^[A-Za-z0-9._~-]{1,64}$'
       OR octet_length(about::text) > 4096 OR num_nulls(export, step, operator, about) > 0 THEN
        RAISE EXCEPTION 'not an audit export' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT FROM audit WHERE id = prefix || step)
       OR step = 'ended' AND NOT EXISTS (SELECT FROM audit WHERE id = prefix || 'began' AND actor = operator) THEN
        RAISE EXCEPTION 'the audit export did not begin or has ended' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO audit (id, at, kind, workspace, actor, detail)
    VALUES (prefix || step, moment, 'audit_export.v1.' || step, about -> 'query' ->> 'workspace', operator,
            about || jsonb_build_object('export', export, 'role', session_user));
    RETURN moment;
END $$;
REVOKE ALL ON FUNCTION record_audit_export(text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_audit_export(text, text, text, jsonb) TO doorcode_auditor;
