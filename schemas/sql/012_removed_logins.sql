-- Whom to tell that their login was removed: where a removed login could be reached, for two days. The row says where a
-- notice goes, so it carries a MAC as a login does; no code goes by it.
CREATE TABLE removed_logins (
    id         text PRIMARY KEY,                       -- 128 random bits; the event of the removal names it
    workspace  text NOT NULL,
    login      text NOT NULL,
    email      text NOT NULL DEFAULT '',
    phone      text NOT NULL DEFAULT '',
    locale     text NOT NULL DEFAULT '',
    owned      boolean NOT NULL DEFAULT false,         -- it was the owner of the workspace
    removed_at timestamptz NOT NULL,
    mac_key    smallint NOT NULL,
    mac        bytea NOT NULL                          -- over every column above
);
CREATE INDEX removed_logins_removed ON removed_logins (removed_at);
CREATE INDEX removed_logins_workspace ON removed_logins (workspace);
GRANT SELECT, INSERT, DELETE ON removed_logins TO doorcode_auth;
-- The verifier's janitor removes old ones. It sees no address.
GRANT SELECT (id, removed_at), DELETE ON removed_logins TO doorcode_verifier;
