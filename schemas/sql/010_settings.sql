-- One opening of the Security settings page. It says for whom the page acts, so it carries a MAC as a login does.
CREATE TABLE settings_sessions (
    id          text PRIMARY KEY,                      -- random
    secret_hash bytea NOT NULL,                        -- SHA-256 of the link's secret, then of the cookie's
    workspace   text NOT NULL,
    login       text NOT NULL,
    version     bigint NOT NULL,                       -- of the login; another one ends the session
    front_end   text NOT NULL,                         -- that asked for it
    return_url  text NOT NULL,                         -- where the page leads back to
    locale      text NOT NULL,                         -- empty: the browser's
    client      text NOT NULL,                         -- JSON, what the front-end said about the browser; empty: nothing
    opened      boolean NOT NULL DEFAULT false,        -- the link was used
    approved_at timestamptz,                           -- when a fresh code was typed last
    asked       text NOT NULL DEFAULT '',              -- handle of the challenge that asks for such a code
    expires_at  timestamptz NOT NULL,                  -- of the link, then of the session
    mac_key     smallint NOT NULL,
    mac         bytea NOT NULL                         -- over every column above
);
CREATE INDEX settings_sessions_expiry ON settings_sessions (expires_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON settings_sessions TO doorcode_auth;

-- What the front-end said about the browser of a challenge, for the list below. Neither is indexed or updated.
ALTER TABLE challenges ADD COLUMN network text, ADD COLUMN browser bytea, ADD COLUMN agent text;

-- The sign-ins of a login that have ended, for its own people to look at: 30 days of them. The relay writes a row when it
-- has carried the outcome to the bus, in the statement that deletes it from the outbox, so that neither create nor check
-- pays for it.
CREATE TABLE sign_ins (
    workspace    text NOT NULL,
    login        text NOT NULL,
    ended_at     timestamptz NOT NULL,
    challenge_id text NOT NULL,
    started_at   timestamptz NOT NULL,
    channel      text NOT NULL,                        -- of the first message
    outcome      text NOT NULL,                        -- approved, expired, canceled or exhausted
    reason       text,                                 -- of a cancel
    network      text,                                 -- the client's address without its last part
    browser      bytea,                                -- keyed hash of the front-end's id of the browser, of this login alone
    agent        text,                                 -- browser and system, in words of a closed set
    PRIMARY KEY (workspace, login, ended_at, challenge_id)
);
CREATE INDEX sign_ins_ended ON sign_ins (ended_at);
GRANT SELECT, INSERT, DELETE ON sign_ins TO doorcode_verifier;
GRANT SELECT ON sign_ins TO doorcode_auth;
