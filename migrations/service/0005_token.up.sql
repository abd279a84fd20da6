-- Read your writes: what a service hands to a reader after its commit.

CREATE FUNCTION outbox.token() RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_lsn    pg_lsn;
  v_offset numeric;
BEGIN
  -- Inside a transaction that has written, its own commit lies beyond the WAL's end of now: the token would
  -- let a reader through without it.
  IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
    RAISE EXCEPTION 'postrider: a token of a transaction that has written would not cover it'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call outbox.token() after COMMIT, outside of it.';
  END IF;
  v_lsn := pg_current_wal_insert_lsn();
  -- Others' WAL may lie before it that nobody flushes soon, such as that of a transaction still open, and
  -- nothing is decoded that is not flushed. A record of our own has the WAL writer flush up to it within
  -- wal_writer_delay; nobody waits for that here. Not transactional: it needs no transaction id.
  IF v_lsn > pg_current_wal_flush_lsn() THEN
    BEGIN
      PERFORM pg_logical_emit_message(false, 'postrider.token', '');
    EXCEPTION WHEN insufficient_privilege THEN
      NULL;  -- then the next commit of anybody flushes it
    END;
  END IF;
  -- Behind a WAL page's header is where the next record goes, but nothing ends there: an idle server is never
  -- known to have got beyond the page's start.
  v_offset := mod(v_lsn - '0/0'::pg_lsn, current_setting('wal_block_size')::int);
  IF v_offset IN (24, 40) THEN
    v_lsn := v_lsn - v_offset;
  END IF;
  RETURN (SELECT system_identifier FROM pg_control_system())::text || ':'
         || ('x' || left(pg_walfile_name(v_lsn), 8))::bit(32)::bigint || ':' || v_lsn;
END
$$;
COMMENT ON FUNCTION outbox.token() IS 'Called after COMMIT: names a place in this server''s history behind every commit up to now, as system identifier:timeline:LSN, for postrider.wait_for in a read model''s database';

REVOKE ALL ON FUNCTION outbox.token() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.token() TO postrider_writer;
