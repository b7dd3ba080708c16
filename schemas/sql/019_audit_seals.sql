-- Which transaction wrote a row of the audit. A seal takes the rows of all transactions below a number under which none is
-- under way any more, so that every row belongs to exactly one seal, whatever its event's time and in whatever order
-- transactions commit. Rows from before this column are NULL and belong to the first seal. Nothing is rewritten: a default
-- that comes after the column is that of new rows alone.
ALTER TABLE audit ADD COLUMN tx bigint;
ALTER TABLE audit ALTER COLUMN tx SET DEFAULT pg_current_xact_id()::text::bigint;
CREATE INDEX audit_tx ON audit USING brin (tx) WITH (pages_per_range = 32, autosummarize = on);

-- No runtime role says itself which transaction wrote a row.
REVOKE INSERT ON audit FROM doorcode_auth, doorcode_verifier;
GRANT INSERT (id, at, kind, workspace, login, challenge_id, actor, detail) ON audit TO doorcode_auth, doorcode_verifier;

-- One seal: the signed head of the Merkle tree (RFC 6962) of all rows up to it. Append-only for every role, kept for ever.
CREATE TABLE audit_seals (
    n         bigint PRIMARY KEY CHECK (n > 0),
    from_tx   bigint NOT NULL,
    to_tx     bigint NOT NULL CHECK (to_tx >= from_tx),
    at        timestamptz NOT NULL,                    -- when it was made
    rows      bigint NOT NULL CHECK (rows >= 0),
    newest    timestamptz,                             -- time of its newest row; NULL when it has none
    tree_size bigint NOT NULL CHECK (tree_size >= rows),
    root      bytea NOT NULL CHECK (octet_length(root) = 32),
    frontier  bytea NOT NULL,                          -- the roots of the maximal complete subtrees, the largest first
    key_id    text NOT NULL,
    signature bytea NOT NULL                           -- Ed25519, over all of the above but the frontier
);

-- The leaves of a seal in their order: time, id and hash of each row, so that one that is missing can be named.
CREATE TABLE audit_leaves (
    seal bigint NOT NULL,
    part integer NOT NULL,
    list bytea NOT NULL,
    PRIMARY KEY (seal, part)
);
ALTER TABLE audit_leaves ALTER COLUMN list SET STORAGE EXTERNAL; -- Hashes do not get smaller.

GRANT SELECT, INSERT ON audit_seals, audit_leaves TO doorcode_verifier;
GRANT SELECT ON audit_seals, audit_leaves TO doorcode_auditor;
