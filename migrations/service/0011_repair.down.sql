CREATE OR REPLACE FUNCTION outbox.relay_bind_stream(p_source text, p_session bigint, p_incarnation text, p_seq bigint)
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

ALTER TABLE outbox.checkpoint DROP COLUMN repair;
