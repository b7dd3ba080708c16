-- Who is to belong to a workspace: invitations, requests to be invited, and tests of a group address. All of it is written
-- by auth alone, each row under a MAC: an address in it is one that a message goes to.
CREATE TABLE invitations (
    workspace  text NOT NULL,
    id         text NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    email      text NOT NULL,                          -- of the invitee
    name       text NOT NULL DEFAULT '',               -- what the owner calls them, made inert
    locale     text NOT NULL DEFAULT '',
    login      text NOT NULL,                          -- who gets the code: no login, but with a row in login_budgets
    invited_by text NOT NULL,                          -- login of the owner; void once that is the owner no more
    state      text NOT NULL CHECK (state IN ('open', 'accepted', 'withdrawn', 'expired')),
    sends      smallint NOT NULL DEFAULT 1,            -- mails with the link
    created_at timestamptz NOT NULL,
    sent_at    timestamptz NOT NULL,                   -- of the last mail
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz,
    challenge  text NOT NULL DEFAULT '',               -- whose code accepted it
    joined     text NOT NULL DEFAULT '',               -- login that the host application made of it
    mac_key    smallint NOT NULL,
    mac        bytea NOT NULL,                         -- over all columns but sends and sent_at
    PRIMARY KEY (workspace, id),
    CHECK ((state = 'open') = (ended_at IS NULL))
);
-- Inviting twice makes no second invitation.
CREATE UNIQUE INDEX invitations_waiting ON invitations (workspace, lower(email))
    WHERE state = 'open' OR (state = 'accepted' AND joined = '');

CREATE TABLE join_requests (
    workspace  text NOT NULL,
    id         text NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    login      text NOT NULL,                          -- the shared one, whose password they know
    name       text NOT NULL,                          -- what a stranger typed, made inert
    email      text NOT NULL,                          -- what a stranger typed
    browser    text NOT NULL DEFAULT '',               -- a name of a closed table
    system     text NOT NULL DEFAULT '',
    state      text NOT NULL CHECK (state IN ('open', 'invited', 'declined')),
    created_at timestamptz NOT NULL,
    ended_at   timestamptz,
    mac_key    smallint NOT NULL,
    mac        bytea NOT NULL,                         -- over all columns
    PRIMARY KEY (workspace, id),
    CHECK ((state = 'open') = (ended_at IS NULL))
);
CREATE INDEX join_requests_of_login ON join_requests (workspace, login, created_at);

CREATE TABLE group_tests (
    workspace  text NOT NULL,
    id         text NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    email      text NOT NULL,                          -- the main address that is tested
    login      text NOT NULL,                          -- who gets the codes: no login, but with a row in login_budgets
    tested_by  text NOT NULL,                          -- login of the owner
    handles    text[] NOT NULL DEFAULT '{}',           -- of the two challenges
    confirmed  boolean[] NOT NULL DEFAULT '{f,f}',     -- which codes came back
    created_at timestamptz NOT NULL,
    passed_at  timestamptz,
    mac_key    smallint NOT NULL,
    mac        bytea NOT NULL,                         -- over all columns
    PRIMARY KEY (workspace, id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON invitations, join_requests, group_tests TO doorcode_auth;
