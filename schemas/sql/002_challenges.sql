-- One row per login: its version and its budget of wrong codes. The row that every check locks
-- last (lock order everywhere: challenge, then budget, then limits). It outlives its login by a
-- day, so that removing and putting a login resets nothing (P3).
CREATE TABLE login_budgets (
    workspace     text NOT NULL,
    login         text NOT NULL,
    version       bigint NOT NULL DEFAULT 1,           -- raised by every factor, address or membership change
    swept_version bigint NOT NULL DEFAULT 1,           -- up to which open challenges of older versions were ended
    unswept       boolean GENERATED ALWAYS AS (version <> swept_version) STORED,  -- a column, so that the planner knows how few
    failures      timestamptz[] NOT NULL DEFAULT '{}', -- the last wrong codes, oldest first, at most one day's limit
    in_a_row      integer NOT NULL DEFAULT 0,          -- wrong codes since the last right one
    locked_at     timestamptz,                         -- ended by an audited call, never by time
    live_ids      text[] NOT NULL DEFAULT '{}',        -- live challenges ...
    live_until    timestamptz[] NOT NULL DEFAULT '{}', -- ... their expiry ...
    live_entries  bigint[] NOT NULL DEFAULT '{}',      -- ... and the request that took the place
    removed_at    timestamptz,                         -- the login was removed
    PRIMARY KEY (workspace, login)
) WITH (fillfactor = 70);
CREATE INDEX login_budgets_unswept ON login_budgets (workspace, login) WHERE unswept;
CREATE INDEX login_budgets_removed ON login_budgets (removed_at) WHERE removed_at IS NOT NULL;

-- The hot state of a challenge. Small rows, updated in place; digest and envelopes are blanked
-- by the statement that ends it.
CREATE TABLE challenges (
    id                text PRIMARY KEY,                -- 128 random bits, base64url
    stream_number     integer NOT NULL,
    stream_sequence   bigint NOT NULL,
    workspace         text NOT NULL,
    login             text NOT NULL,
    login_version     bigint NOT NULL,
    front_end         text NOT NULL,
    purpose           text NOT NULL,
    label             text NOT NULL,
    support_reference text NOT NULL,
    tag_key           smallint NOT NULL,
    digest_key        smallint NOT NULL,
    digest            bytea,                           -- NULL once the challenge ended
    routes            jsonb NOT NULL,                  -- channel, masked recipient, address hash, limits, envelope
    wrong_limit       smallint NOT NULL CHECK (wrong_limit BETWEEN 1 AND 5),
    hour_limit        smallint NOT NULL CHECK (hour_limit BETWEEN 1 AND 10),
    day_limit         smallint NOT NULL CHECK (day_limit BETWEEN 1 AND 20),
    lock_limit        smallint NOT NULL CHECK (lock_limit BETWEEN 1 AND 100),
    send_limit        smallint NOT NULL CHECK (send_limit BETWEEN 1 AND 5),
    state             text NOT NULL DEFAULT 'pending'
                      CHECK (state IN ('pending', 'approved', 'expired', 'canceled', 'exhausted')),
    reason            text,                            -- of a cancel
    wrong             smallint NOT NULL DEFAULT 0,     -- wrong codes compared
    check_macs        bytea[] NOT NULL DEFAULT '{}',   -- HMAC(check id, tag) of every counted check, at most six
    check_answers     text[] NOT NULL DEFAULT '{}',    -- approved, or wrong:<checks left>, at the same position
    refused           text[] NOT NULL DEFAULT '{}',    -- states whose first refusal is on record
    sends             smallint NOT NULL DEFAULT 1,
    send_keys         bytea[] NOT NULL DEFAULT '{}',   -- request key of send 2, 3, ...
    send_routes       smallint[] NOT NULL DEFAULT '{0}',  -- route of send 1, 2, ...
    created_at        timestamptz NOT NULL,
    resend_at         timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    ended_at          timestamptz,
    CHECK ((state = 'pending') = (ended_at IS NULL)),
    CHECK ((state = 'pending') = (digest IS NOT NULL))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX challenges_open ON challenges (expires_at) WHERE state = 'pending';
CREATE INDEX challenges_open_by_login ON challenges (workspace, login) WHERE state = 'pending';
CREATE INDEX challenges_ended ON challenges (expires_at) WHERE state <> 'pending';

-- Sends per recipient, creates per client address and text messages over all: the last N entries of a key, oldest first.
-- An entry is the time and the first 8 bytes of the SHA-256 of the request's Nats-Msg-Id, so that
-- a repeat takes nothing.
CREATE TABLE limits (
    dimension text NOT NULL CHECK (dimension IN ('recipient', 'client', 'sms_spend')),
    key       bytea NOT NULL,                          -- keyed hash; of sms_spend there is one row
    times     timestamptz[] NOT NULL DEFAULT '{}',
    entries   bigint[] NOT NULL DEFAULT '{}',
    used_at   timestamptz NOT NULL DEFAULT now(),      -- rows unused for a day are removed
    PRIMARY KEY (dimension, key)
) WITH (fillfactor = 70);
CREATE INDEX limits_used ON limits (used_at);
