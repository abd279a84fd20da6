-- What the relay may write: its own checkpoint row, and only as the newest session.

CREATE FUNCTION outbox.relay_open(p_source text) RETURNS outbox.checkpoint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_row outbox.checkpoint;
BEGIN
  UPDATE outbox.checkpoint SET session = session + 1, updated_at = now()
    WHERE source = p_source AND initialised RETURNING * INTO v_row;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'postrider: source % is not initialised', quote_literal(p_source)
      USING ERRCODE = 'undefined_table', HINT = 'Run `postrider migrate up` to its end.';
  END IF;
  IF v_row.wal_store THEN
    PERFORM setval('outbox.wal_store_gate', 1);
  END IF;
  RETURN v_row;
END
$$;
COMMENT ON FUNCTION outbox.relay_open(text) IS 'Raises the session number, so that every older session is fenced, and returns the row';

CREATE FUNCTION outbox.relay_bind_stream(p_source text, p_session bigint, p_incarnation text, p_seq bigint)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- Only while nothing is durable: a stream that held durable events is not replaced by a word.
  UPDATE outbox.checkpoint SET incarnation = p_incarnation, seq = p_seq, updated_at = now()
    WHERE source = p_source AND session = p_session AND ordinal = 0;
  RETURN FOUND;
END
$$;
COMMENT ON FUNCTION outbox.relay_bind_stream(text, bigint, text, bigint) IS 'Notes which stream the source''s events go into; false: a newer session exists';

CREATE FUNCTION outbox.relay_set_epochs(p_source text, p_session bigint, p_epochs jsonb, p_wal_store boolean)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_open boolean;
BEGIN
  SELECT wal_store INTO v_open FROM outbox.checkpoint WHERE source = p_source AND session = p_session;
  IF v_open AND NOT p_wal_store THEN
    RAISE EXCEPTION 'postrider: the wal store of source % is open, its events would be lost', quote_literal(p_source)
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'As the owner: SELECT outbox.disable_wal_store(source), which waits for its writers; or set relay.wal_store = true.';
  END IF;
  UPDATE outbox.checkpoint SET epochs = p_epochs, wal_store = p_wal_store, updated_at = now()
    WHERE source = p_source AND session = p_session;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF p_wal_store THEN
    PERFORM setval('outbox.wal_store_gate', 1);  -- emit also waits for the row, so for our commit
  END IF;
  RETURN true;
END
$$;
COMMENT ON FUNCTION outbox.relay_set_epochs(text, bigint, jsonb, boolean) IS 'Notes the epochs still needed; false: a newer session exists';

CREATE FUNCTION outbox.relay_checkpoint(p_source text, p_session bigint, p_seq bigint, p_ordinal bigint,
                                        p_timeline bigint, p_lsn pg_lsn, p_idx bigint, p_part int, p_xid bigint,
                                        p_commit_time_us bigint, p_epoch bigint, p_confirm_to pg_lsn)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_row outbox.checkpoint;
BEGIN
  SELECT * INTO v_row FROM outbox.checkpoint WHERE source = p_source AND session = p_session FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF p_ordinal < v_row.ordinal OR p_confirm_to < v_row.confirm_to THEN
    RAISE EXCEPTION 'postrider: the checkpoint of % would go back from ordinal % and % to ordinal % and %',
      quote_literal(p_source), v_row.ordinal, v_row.confirm_to, p_ordinal, p_confirm_to
      USING ERRCODE = 'data_exception';
  END IF;
  UPDATE outbox.checkpoint SET seq = p_seq, ordinal = p_ordinal, timeline = p_timeline, lsn = p_lsn, idx = p_idx,
         part = p_part, xid = p_xid, commit_time_us = p_commit_time_us, epoch = p_epoch,
         confirm_to = p_confirm_to, updated_at = now()
    WHERE source = p_source AND session = p_session;
  RETURN FOUND;
END
$$;
COMMENT ON FUNCTION outbox.relay_checkpoint(text, bigint, bigint, bigint, bigint, pg_lsn, bigint, int, bigint, bigint, bigint, pg_lsn) IS 'Notes the newest durable message and what the slot may be told; false: a newer session exists';

REVOKE ALL ON FUNCTION outbox.relay_open(text), outbox.relay_bind_stream(text, bigint, text, bigint),
  outbox.relay_set_epochs(text, bigint, jsonb, boolean),
  outbox.relay_checkpoint(text, bigint, bigint, bigint, bigint, pg_lsn, bigint, int, bigint, bigint, bigint, pg_lsn)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.relay_open(text), outbox.relay_bind_stream(text, bigint, text, bigint),
  outbox.relay_set_epochs(text, bigint, jsonb, boolean),
  outbox.relay_checkpoint(text, bigint, bigint, bigint, bigint, pg_lsn, bigint, int, bigint, bigint, bigint, pg_lsn)
  TO postrider_relay;
