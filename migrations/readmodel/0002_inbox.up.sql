-- For consumers with a plain NATS client: claim an event in the transaction that works on it, and
-- acknowledge the message only after that transaction's COMMIT, whatever the claim said.
CREATE TABLE postrider.inbox (
  -- Collation C: a unique index over the system's collation may stop being unique when its C library is upgraded.
  consumer   text        COLLATE "C" NOT NULL CHECK (length(consumer) BETWEEN 1 AND 100),
  event      text        COLLATE "C" NOT NULL CHECK (length(event) BETWEEN 1 AND 200),
  claimed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (consumer, event)
);
COMMENT ON TABLE postrider.inbox IS 'Events that a consumer''s committed transactions have worked on; a row goes only by inbox_forget';
COMMENT ON COLUMN postrider.inbox.consumer IS 'Name that the consumer chose; each has its own claims';
COMMENT ON COLUMN postrider.inbox.event IS 'Postrider-Id of the event';
COMMENT ON COLUMN postrider.inbox.claimed_at IS 'Start of the transaction that claimed it, by this server''s clock';

CREATE FUNCTION postrider.inbox_claim(consumer text, event text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
  -- A NULL makes the condition NULL, and must be refused too.
  IF (length(consumer) BETWEEN 1 AND 100 AND length(event) BETWEEN 1 AND 200) IS NOT TRUE THEN
    RAISE EXCEPTION 'postrider: inbox_claim needs a consumer of 1 to 100 characters and an event of 1 to 200'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Pass the consumer''s name and the message''s header Postrider-Id.';
  END IF;
  -- The message is acknowledged after COMMIT and never comes again: a COMMIT that a crash of this server may
  -- take back would lose it. Holds for this transaction, beyond the end of the function.
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  INSERT INTO postrider.inbox (consumer, event) VALUES (consumer, event)
    ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING;
  RETURN FOUND;
END
$$;
COMMENT ON FUNCTION postrider.inbox_claim(text, text) IS 'True when this transaction is the first to work on the event for that consumer; false when a committed one has, or this one already. Waits for a transaction that is claiming it; a rollback takes the claim back';

CREATE FUNCTION postrider.inbox_forget(consumer text, older_than interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  forgotten bigint;
BEGIN
  IF consumer IS NULL OR (older_than > interval '0') IS NOT TRUE THEN
    RAISE EXCEPTION 'postrider: inbox_forget needs a consumer and an age greater than zero'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Pass an age after which the stream cannot deliver the message again: more than stream.max_age.';
  END IF;
  DELETE FROM postrider.inbox AS i WHERE i.consumer = consumer AND i.claimed_at < now() - older_than;
  GET DIAGNOSTICS forgotten = ROW_COUNT;
  RETURN forgotten;
END
$$;
COMMENT ON FUNCTION postrider.inbox_forget(text, interval) IS 'Deletes a consumer''s claims older than that and returns how many. Only for what the stream cannot deliver again: a forgotten event that comes again is worked on again. Reads the whole table';

REVOKE ALL ON FUNCTION postrider.inbox_claim(text, text), postrider.inbox_forget(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION postrider.inbox_claim(text, text), postrider.inbox_forget(text, interval) TO postrider_reader;
