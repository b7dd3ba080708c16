-- Changes of where the codes of a login go, on their way and for a while after: the row that says what is to be proved,
-- what takes effect then and what an undo brings back. It carries a MAC as the rows of the directory do, over every
-- column: one that somebody else wrote is not sent to.
CREATE TABLE factor_changes (
    id          text PRIMARY KEY,                      -- 128 random bits
    workspace   text NOT NULL,
    login       text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('sms', 'email', 'number', 'main_email')),
    state       text NOT NULL CHECK (state IN ('approval', 'proof', 'applied', 'canceled', 'expired', 'reverted')),
    channel     text NOT NULL,                         -- of the destination
    destination text NOT NULL,                         -- what has to be proved
    former      jsonb NOT NULL,                        -- what it replaces ...
    next        jsonb NOT NULL,                        -- ... and by what
    version     bigint NOT NULL,                       -- of the login when it began; any other ends it
    handle      text NOT NULL DEFAULT '',              -- of the open challenge; empty: none was asked for yet
    approval    text NOT NULL DEFAULT '',              -- handle of the challenge that approved it
    round       integer NOT NULL DEFAULT 0,            -- challenges asked for in this state, names the next one
    locale      text NOT NULL DEFAULT '',
    actor       text NOT NULL,                         -- who began it
    approved_at timestamptz,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    applied_at  timestamptz,
    mac_key     smallint NOT NULL,
    mac         bytea NOT NULL
);
-- At most one on its way for a login.
CREATE UNIQUE INDEX factor_changes_pending ON factor_changes (workspace, login) WHERE state IN ('approval', 'proof');
CREATE INDEX factor_changes_login ON factor_changes (workspace, login, created_at DESC);
GRANT SELECT, INSERT, UPDATE, DELETE ON factor_changes TO doorcode_auth;
