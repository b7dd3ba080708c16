-- Whose addresses the audit keeps: a login, or the main address of a workspace (an empty login). The audit holds them sealed
-- under two halves of a key, this one and one outside the database. Whoever deletes a row here erases the addresses of its
-- subject, in the audit, its exports and every copy of both: keep no backup of this table for longer than 30 days.
CREATE TABLE subjects (
    workspace text NOT NULL,
    login     text NOT NULL DEFAULT '',
    half      bytea NOT NULL CHECK (length(half) = 32),
    known_key smallint NOT NULL,
    known     bytea NOT NULL,                            -- MAC of the addresses that were recorded last
    PRIMARY KEY (workspace, login)
);
GRANT SELECT, INSERT, UPDATE ON subjects TO doorcode_auth;
