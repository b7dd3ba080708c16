-- Which change a change of a factor took over from: its undo link lives as long as what the login has descends from it. The
-- MAC of the row covers it; a row without one keeps the MAC that it has.
ALTER TABLE factor_changes ADD COLUMN follows text NOT NULL DEFAULT '';

-- How many logins a number serves is counted when one gets it.
CREATE INDEX logins_phone ON logins (phone) WHERE phone IS NOT NULL;
