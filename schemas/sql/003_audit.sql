-- Everything that happened, once. Append-only for every role. The time is the event's own, so that
-- a second arrival meets the same key.
CREATE TABLE audit (
    id           text NOT NULL,                        -- the event's id, which follows from its cause
    at           timestamptz NOT NULL,
    kind         text NOT NULL,                        -- the event's type
    workspace    text,
    login        text,
    challenge_id text,
    actor        text NOT NULL,                        -- front-end or process
    detail       jsonb NOT NULL,                       -- free of codes and recipients
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE INDEX audit_challenge ON audit (challenge_id, at);
CREATE INDEX audit_at ON audit USING brin (at) WITH (pages_per_range = 32);
-- A safety net that stays empty; a row in it means that partitions were not made in time.
CREATE TABLE audit_default PARTITION OF audit DEFAULT;

-- Makes the daily partitions from eight days ago to fourteen days ahead, and moves into them what
-- came before they were there: a row in the default partition would refuse its day for ever. The
-- verifier calls it every day; it belongs to the owner, so that no runtime role can create or drop
-- tables.
CREATE FUNCTION ensure_audit_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    day  date;
    part text;
    low  text;
    high text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('doorcode audit partitions'));
    FOR day IN SELECT d::date FROM generate_series((now() AT TIME ZONE 'UTC')::date - 8, (now() AT TIME ZONE 'UTC')::date + 14, interval '1 day') d LOOP
        part := 'audit_' || to_char(day, 'YYYYMMDD');
        low  := to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00';
        high := to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00';
        IF to_regclass(part) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE audit INCLUDING ALL)', part);
            EXECUTE format('WITH early AS (DELETE FROM audit_default WHERE at >= %L AND at < %L RETURNING *)
                            INSERT INTO %I SELECT * FROM early', low, high, part);
            EXECUTE format('ALTER TABLE audit ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, low, high);
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;
REVOKE ALL ON FUNCTION ensure_audit_partitions() FROM PUBLIC;

-- Events that Postgres decided and the bus has not seen yet. A row is written in the deciding
-- transaction and deleted when the bus has acknowledged it.
CREATE TABLE outbox (
    id         text PRIMARY KEY,                       -- the event's id, also its Nats-Msg-Id
    type       text NOT NULL,
    source     text NOT NULL,
    subject    text NOT NULL,                          -- CloudEvents subject: challenge or workspace
    at         timestamptz NOT NULL,
    data       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX outbox_created ON outbox (created_at);
