-- Orders to have an enforced wave go back to grace for a time, which two people give in two commands. Nothing but the operator's
-- command reads or writes them; what becomes of the wave stands in its own row. The MAC keeps an order from being made by
-- whoever can write the database alone: the second person approves what the first has asked for.
CREATE TABLE rollout_step_backs (
    wave         text NOT NULL REFERENCES rollout_waves (id) ON DELETE CASCADE,
    requested_at timestamptz NOT NULL,
    requested_by text NOT NULL,                        -- who says so
    requested_as text NOT NULL,                        -- the login to the database that the command had
    grace_until  timestamptz NOT NULL,
    skips        smallint NOT NULL,                    -- of each login, from the wave's first day on; never fewer than before
    reason       text NOT NULL,
    mac_key      smallint NOT NULL,
    mac          bytea NOT NULL,                       -- over every column above
    approved_at  timestamptz,
    approved_by  text,
    approved_as  text,
    PRIMARY KEY (wave, requested_at),
    CHECK (num_nulls(approved_at, approved_by, approved_as) IN (0, 3))
);
