-- Read your writes: a reader waits in its own database until a read model holds what a token covers.

-- How far every read model is, for a token's place. `covers` is NULL where the read model's system is not
-- known yet: no announcement of its source has been applied.
CREATE FUNCTION postrider.covering(p_timeline bigint, p_lsn pg_lsn)
RETURNS TABLE (readmodel text, system_id text, covers boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.readmodel, s.system_id,
         CASE WHEN s.system_id IS NOT NULL THEN
           -- The relay said that nothing is missing up to there ...
           coalesce(v.timeline >= p_timeline AND v.lsn >= p_lsn, false)
           -- ... or a commit behind the token's place has been applied, and so every one before it.
           OR (c.timeline >= p_timeline AND c.lsn >= p_lsn)
         END
  FROM postrider.cursor c
  LEFT JOIN postrider.coverage v ON v.readmodel = c.readmodel
  -- Read models of one source are of one system, also the one that has heard no announcement yet.
  LEFT JOIN LATERAL (SELECT o.system_id FROM postrider.coverage o JOIN postrider.cursor oc ON oc.readmodel = o.readmodel
                     WHERE oc.source = c.source AND oc.stream = c.stream
                     ORDER BY o.readmodel <> c.readmodel, o.updated_at DESC LIMIT 1) s ON true
  WHERE c.readmodel NOT LIKE '%/rebuild'
$$;
COMMENT ON FUNCTION postrider.covering(bigint, pg_lsn) IS 'Whether each read model holds every commit of its source before that LSN; NULL while its system is not known';

CREATE FUNCTION postrider.wait_for(token text, timeout interval DEFAULT '5 seconds', readmodel text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_fields   text[] := regexp_match(wait_for.token, '^(\d{1,20}):(\d{1,10}):([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})$');
  v_deadline timestamptz := clock_timestamp() + wait_for.timeout;
  v_pause    float8 := 0.001;
  v_timeline bigint;
  v_lsn      pg_lsn;
  v_known    boolean;
  v_covered  boolean;
  v_systems  text;
BEGIN
  IF v_fields IS NULL THEN
    RAISE EXCEPTION 'postrider: % is no token', coalesce(quote_literal(wait_for.token), 'NULL')
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Pass on what outbox.token() returned in the source''s database: system identifier:timeline:LSN.';
  END IF;
  IF v_deadline IS NULL THEN
    RAISE EXCEPTION 'postrider: the timeout is NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave it out for 5 seconds.';
  END IF;
  IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    RAISE EXCEPTION 'postrider: a % transaction would never see the read model move', current_setting('transaction_isolation')
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Wait first, in a statement of its own, and begin that transaction afterwards.';
  END IF;
  v_timeline := v_fields[2];
  v_lsn := v_fields[3];
  IF wait_for.readmodel LIKE '%/rebuild'
     OR wait_for.readmodel IS NOT NULL AND NOT EXISTS (SELECT 1 FROM postrider.cursor c WHERE c.readmodel = wait_for.readmodel) THEN
    RAISE EXCEPTION 'postrider: there is no read model %', quote_literal(wait_for.readmodel)
      USING ERRCODE = 'undefined_object',
            HINT = 'SELECT readmodel FROM postrider.cursor lists them; one that is being rebuilt cannot be waited for.';
  END IF;
  BEGIN
    -- Says to a rebuild that this snapshot reads nothing of a read model: 28791 is "pw". Only while it waits: the
    -- block is left by an exception of its own, whose rollback frees the lock, so that the rest of the transaction
    -- is waited for like any other.
    PERFORM pg_advisory_xact_lock_shared(28791, 0);
    LOOP
      -- Each turn sees what is committed by then: the function is volatile and the transaction READ COMMITTED.
      -- One whose system is not known might be of the token's, so it is waited for, too.
      SELECT coalesce(bool_or(c.system_id = v_fields[1]), false), coalesce(bool_and(coalesce(c.covers, false)), false)
        INTO v_known, v_covered
        FROM postrider.covering(v_timeline, v_lsn) c
        WHERE (c.readmodel = wait_for.readmodel OR wait_for.readmodel IS NULL)
          AND (c.system_id = v_fields[1] OR c.system_id IS NULL);
      EXIT WHEN (v_known AND v_covered) OR clock_timestamp() >= v_deadline;
      PERFORM pg_sleep(greatest(least(v_pause, extract(epoch FROM v_deadline - clock_timestamp())), 0));
      v_pause := least(v_pause * 1.5, 0.005);
    END LOOP;
    RAISE EXCEPTION 'postrider: waited' USING ERRCODE = 'PW000';
  EXCEPTION
    WHEN SQLSTATE 'PW000' THEN NULL;
  END;
  IF v_known AND v_covered THEN
    RETURN true;
  END IF;
  IF NOT v_known THEN
    SELECT string_agg(DISTINCT c.system_id, ', ') INTO v_systems FROM postrider.covering(v_timeline, v_lsn) c
      WHERE c.readmodel = wait_for.readmodel OR wait_for.readmodel IS NULL;
    RAISE EXCEPTION 'postrider: no read model here is known to be fed from system %', v_fields[1]
      USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'Known here: ' || coalesce(v_systems, 'none') || '.',
            HINT = 'Is the token from the right source, and this the right database? A new read model is known once '
                   '`postrider apply` has heard its relay announce (relay.announce in docs/operating.md).';
  END IF;
  RETURN false;
END
$$;
COMMENT ON FUNCTION postrider.wait_for(text, interval, text) IS 'True as soon as every read model fed from the token''s system, or the named one, holds all commits that the token covers; false when the timeout has passed. In a statement of its own: a statement that reads the read model must begin afterwards';

REVOKE ALL ON FUNCTION postrider.covering(bigint, pg_lsn), postrider.wait_for(text, interval, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION postrider.wait_for(text, interval, text) TO postrider_reader, postrider_applier;
