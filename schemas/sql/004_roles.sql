-- One role per process, each with what its job needs and nothing else (P10). The roles themselves
-- exist before: they belong to the cluster, not to the database.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO doorcode_auth, doorcode_verifier;

-- auth: the directory, and on the way of a create only limit rows and live challenges.
GRANT SELECT, INSERT, UPDATE, DELETE ON workspaces, logins TO doorcode_auth;
GRANT SELECT ON front_ends, sms_countries TO doorcode_auth;
GRANT SELECT, INSERT ON login_budgets TO doorcode_auth;
GRANT UPDATE (version, live_ids, live_until, live_entries, removed_at) ON login_budgets TO doorcode_auth;
GRANT SELECT (id, workspace, login, label, state, expires_at) ON challenges TO doorcode_auth;
GRANT SELECT, INSERT, UPDATE ON limits TO doorcode_auth;
GRANT INSERT ON audit, outbox TO doorcode_auth;

-- verifier: every challenge's state, the record, the outbox; nothing of the directory.
GRANT SELECT, INSERT, UPDATE, DELETE ON challenges TO doorcode_verifier;
GRANT SELECT, DELETE ON login_budgets TO doorcode_verifier;
GRANT UPDATE (swept_version, failures, in_a_row, locked_at, live_ids, live_until, live_entries) ON login_budgets TO doorcode_verifier;
GRANT SELECT, INSERT, UPDATE, DELETE ON limits TO doorcode_verifier;
GRANT SELECT, INSERT ON audit TO doorcode_verifier;
GRANT SELECT, INSERT, DELETE ON outbox TO doorcode_verifier;
GRANT UPDATE (created_at) ON outbox TO doorcode_verifier; -- what cannot go goes to the end
GRANT EXECUTE ON FUNCTION ensure_audit_partitions() TO doorcode_verifier;
