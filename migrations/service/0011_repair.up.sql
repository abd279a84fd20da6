-- `postrider repair`: what a relay must know of one that has begun, and a mark behind a hole.

ALTER TABLE outbox.checkpoint ADD COLUMN repair jsonb;
COMMENT ON COLUMN outbox.checkpoint.repair IS 'What a repair that has begun is about; NULL: none has, or it has ended. No session begins meanwhile';

CREATE OR REPLACE FUNCTION outbox.relay_bind_stream(p_source text, p_session bigint, p_incarnation text, p_seq bigint)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- Only while nothing is durable: a stream that held durable events is not replaced by a word. A position of
  -- none with an ordinal is the place behind a hole that a repair left.
  UPDATE outbox.checkpoint SET incarnation = p_incarnation, seq = p_seq, updated_at = now()
    WHERE source = p_source AND session = p_session AND lsn = '0/0';
  RETURN FOUND;
END
$$;
