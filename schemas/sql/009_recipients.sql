-- The keyed hash of the address or number that a challenge's first route leads to, as the limits have it: who shares a
-- mailbox is told how many sign-ins wait there, and no two of them have the same label. NULL in rows of before.
ALTER TABLE challenges ADD COLUMN address bytea;
CREATE INDEX challenges_open_by_address ON challenges (address) WHERE ended_at IS NULL;
GRANT SELECT (address) ON challenges TO doorcode_auth;
