-- What the people who run a workspace are told of its way to codes. None of it says where a code goes or who needs one, but
-- for the postponement, which is why that row alone carries a MAC; a notice is sent on the word of the wave and the place.
CREATE TABLE rollout_notices (
    id         text PRIMARY KEY,                       -- follows from the login, the wave and the number
    workspace  text NOT NULL,
    login      text NOT NULL,                          -- who is told
    wave       text NOT NULL,
    number     integer NOT NULL CHECK (number > 0),    -- of what this login was told of the wave
    notice     text NOT NULL,                          -- of a closed list
    date       timestamptz NOT NULL,                   -- that it tells
    due_at     timestamptz NOT NULL,
    ordered_at timestamptz NOT NULL,
    UNIQUE (workspace, login, wave, number)
);
CREATE INDEX rollout_notices_ordered ON rollout_notices (ordered_at);  -- how many went within a minute

-- The owner of a workspace may move its date by a week, once.
CREATE TABLE rollout_postponements (
    workspace  text PRIMARY KEY,
    wave       text NOT NULL,
    grace_at   timestamptz NOT NULL,                   -- what was promised
    enforce_at timestamptz NOT NULL,
    login      text NOT NULL,                          -- the owner's
    at         timestamptz NOT NULL,
    mac_key    smallint NOT NULL,
    mac        bytea NOT NULL                          -- over every column above
);

-- Who has typed a practice code last, and when: a code that lets nobody in and shows that codes arrive.
CREATE TABLE rollout_practices (
    workspace text NOT NULL,
    login     text NOT NULL,
    challenge text NOT NULL,
    address   bytea NOT NULL,                          -- keyed hash of where the code went
    at        timestamptz NOT NULL,
    PRIMARY KEY (workspace, login)
);
GRANT SELECT, INSERT, DELETE ON rollout_notices, rollout_postponements TO doorcode_auth;
GRANT SELECT, INSERT, UPDATE, DELETE ON rollout_practices TO doorcode_auth;
