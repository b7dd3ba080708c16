-- Who needs a code already. A workspace without a row here needs one, and so does a login that was made after its
-- workspace joined a wave: whatever is missing, broken or unknown asks for more and never for less. Rows here can only let
-- somebody in without a code, so each carries a MAC under a key outside the database. The operator's command writes them.
-- Who can write the database can still put a former row of a wave back, and have a login or a browser look older than it is.
CREATE TABLE rollout_waves (
    id          text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
    announce_at timestamptz NOT NULL,                  -- from here on nobody joins, leaves or comes earlier
    grace_at    timestamptz NOT NULL,                  -- the code is asked for and may be skipped
    enforce_at  timestamptz NOT NULL,                  -- the code is required
    skips       smallint NOT NULL CHECK (skips BETWEEN 0 AND 100),  -- of each login, in grace
    paused_at   timestamptz,                           -- its workspaces stay where they were then
    reason      text NOT NULL DEFAULT '',              -- of the pause
    mac_key     smallint NOT NULL,
    mac         bytea NOT NULL,                        -- over every column above
    made_at     timestamptz NOT NULL DEFAULT now(),    -- workspaces younger than the first wave join none
    CHECK (announce_at <= grace_at AND grace_at <= enforce_at)
);

CREATE TABLE rollout_places (
    workspace text PRIMARY KEY,
    wave      text NOT NULL REFERENCES rollout_waves (id),
    joined_at timestamptz NOT NULL,                    -- logins that were made later need a code
    mac_key   smallint NOT NULL,
    mac       bytea NOT NULL                           -- over every column above
);
CREATE INDEX rollout_places_wave ON rollout_places (wave);

CREATE TABLE rollout_exemptions (
    workspace    text NOT NULL,
    login        text NOT NULL DEFAULT '',             -- empty: all of the workspace
    reason       text NOT NULL,                        -- of a closed list
    requested_by text NOT NULL,
    approved_by  text NOT NULL CHECK (approved_by <> requested_by),
    since        timestamptz NOT NULL,
    until        timestamptz NOT NULL,                 -- at most 90 days after since, or 72 hours for a login
    mac_key      smallint NOT NULL,
    mac          bytea NOT NULL,                       -- over every column above
    PRIMARY KEY (workspace, login)
);
GRANT SELECT ON rollout_waves TO doorcode_auth;
GRANT SELECT, DELETE ON rollout_places, rollout_exemptions TO doorcode_auth;  -- they go with their workspace or login

-- When a workspace or a login was made. Those of before were there before any wave.
ALTER TABLE workspaces ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE logins ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();
-- One person in several workspaces: the strictest of them decides. The indexes hold hashes, so that addresses stand in no
-- further place.
CREATE INDEX logins_address ON logins (hashtextextended(lower(email), 0)) WHERE email IS NOT NULL;
CREATE INDEX workspaces_address ON workspaces (hashtextextended(lower(main_email), 0));

-- How often a login went on without its code, in grace.
ALTER TABLE login_budgets ADD COLUMN skips smallint NOT NULL DEFAULT 0;
GRANT UPDATE (skips) ON login_budgets TO doorcode_verifier;

-- A challenge that may be skipped says so under a MAC of auth; one that was waived has neither code nor route.
ALTER TABLE challenges ADD COLUMN skip jsonb;
ALTER TABLE challenges DROP CONSTRAINT challenges_state_check;
ALTER TABLE challenges ADD CONSTRAINT challenges_state_check
    CHECK (state IN ('pending', 'approved', 'expired', 'canceled', 'exhausted', 'waived'));
