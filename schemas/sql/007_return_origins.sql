-- Where a hosted page may send a browser back to, for each front-end. The MAC covers it as it covers the scopes; a row
-- of before has no origin, so its MAC stays valid.
ALTER TABLE front_ends ADD COLUMN return_origins text[] NOT NULL DEFAULT '{}';
