-- What the gates between waves showed when they were last judged (product.md R4.12). The verifier writes it, the operator's
-- command shows it; it decides nothing.
CREATE TABLE rollout_gates (
    gate      text PRIMARY KEY CHECK (length(gate) BETWEEN 1 AND 64),
    light     text NOT NULL CHECK (light IN ('open', 'failed', 'too_few')),
    sentence  text NOT NULL,                           -- with figures and bounds
    judged_at timestamptz NOT NULL
);

-- Waves that stand still because a gate failed. Nothing goes on by itself: the operator's command clears a hold. A row has no
-- MAC, because the verifier, which has no key of such rows, has it written: whoever is the verifier can keep a wave in the
-- stage in which it is, on record and for everybody to see, and can neither give it an earlier one nor undo a hold.
CREATE TABLE rollout_holds (
    wave       text NOT NULL REFERENCES rollout_waves (id) ON DELETE CASCADE,
    held_at    timestamptz NOT NULL,
    gates      text[] NOT NULL,                        -- that failed
    reason     text NOT NULL,
    cleared_at timestamptz,                            -- when a person had the wave go on
    PRIMARY KEY (wave, held_at)
);
CREATE UNIQUE INDEX rollout_holds_live ON rollout_holds (wave) WHERE cleared_at IS NULL;

-- Has waves stand still from now on and puts that on record. It returns those that it held: not one that a gate holds already,
-- nor one for which a person has overruled all of these gates within a day. It belongs to the owner, so that a hold begins
-- now, whoever asks for it: one that began earlier would take an enforced wave back.
CREATE FUNCTION hold_waves(ids text[], failed text[], why text, figures jsonb) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    held   text[];
BEGIN
    IF num_nulls(ids, failed, why, figures) > 0 OR cardinality(failed) = 0 OR length(why) NOT BETWEEN 1 AND 2000
       OR octet_length(figures::text) > 4096 THEN
        RAISE EXCEPTION 'not a hold' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WITH made AS (
        INSERT INTO rollout_holds (wave, held_at, gates, reason)
        SELECT w.id, moment, failed, why
          FROM rollout_waves w
         WHERE w.id = ANY(ids) AND w.paused_at IS NULL
           AND NOT failed <@ coalesce((SELECT array_agg(g) FROM rollout_holds h, unnest(h.gates) AS g
                                        WHERE h.wave = w.id AND h.cleared_at > moment - interval '1 day'), '{}')
         ORDER BY w.id
        ON CONFLICT DO NOTHING RETURNING wave
    )
    SELECT coalesce(array_agg(wave ORDER BY wave), '{}') INTO held FROM made;
    IF cardinality(held) > 0 THEN
        INSERT INTO audit (id, at, kind, actor, detail)
        VALUES ('rollout.' || gen_random_uuid(), moment, 'rollout.v1.gate_failed', 'gates',
                jsonb_build_object('gates', failed, 'reason', why, 'figures', figures, 'waves', held));
        INSERT INTO audit (id, at, kind, actor, detail)
        SELECT 'rollout.' || gen_random_uuid(), moment, 'rollout.v1.wave_paused', 'gates',
               jsonb_build_object('wave', wave, 'reason', why, 'held_at', moment)
          FROM unnest(held) AS wave;
    END IF;
    RETURN held;
END $$;
REVOKE ALL ON FUNCTION hold_waves(text[], text[], text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hold_waves(text[], text[], text, jsonb) TO doorcode_verifier;
GRANT SELECT, INSERT, UPDATE ON rollout_gates TO doorcode_verifier;
GRANT SELECT (id, announce_at, grace_at, enforce_at, skips, paused_at) ON rollout_waves TO doorcode_verifier;
GRANT SELECT ON rollout_holds TO doorcode_verifier, doorcode_auth;

-- Bounces that come late name an address alone, by its keyed hash. They are few, and nothing else finds them.
CREATE INDEX audit_unnamed_receipts ON audit ((detail ->> 'address_hash'), at) WHERE kind = 'receipt.v1.recorded' AND challenge_id IS NULL;
