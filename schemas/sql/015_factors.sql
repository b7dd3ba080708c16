-- Which change a change of a factor took over from: its undo link lives as long as what the login has descends from it. The
-- MAC of the row covers it; a row without one keeps the MAC that it has.
ALTER TABLE factor_changes ADD COLUMN follows text NOT NULL DEFAULT '';

-- How many logins a number serves is counted when one gets it.
CREATE INDEX logins_phone ON logins (phone) WHERE phone IS NOT NULL;

-- When a settings session was made: of too many for a login the oldest ends, which is all that it decides, so that no MAC
-- covers it.
ALTER TABLE settings_sessions ADD COLUMN made_at timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE INDEX settings_sessions_login ON settings_sessions (workspace, login, made_at DESC);

-- How often an address was invited within a day, by whatever workspaces.
CREATE INDEX invitations_address ON invitations (lower(email), created_at);
