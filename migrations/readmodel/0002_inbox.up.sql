-- For consumers with a plain NATS client: claim an event in the transaction that works on it.
CREATE TABLE postrider.inbox (
  consumer   text        NOT NULL,
  event      text        NOT NULL,
  claimed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (consumer, event)
);
COMMENT ON TABLE postrider.inbox IS 'Events that a consumer''s committed transactions have worked on';
COMMENT ON COLUMN postrider.inbox.consumer IS 'Name that the consumer chose; each has its own claims';
COMMENT ON COLUMN postrider.inbox.event IS 'Postrider-Id of the event';
COMMENT ON COLUMN postrider.inbox.claimed_at IS 'Start of the transaction that claimed it';

CREATE FUNCTION postrider.inbox_claim(consumer text, event text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
  IF consumer IS NULL OR consumer = '' OR event IS NULL OR event = '' THEN
    RAISE EXCEPTION 'postrider: inbox_claim needs a consumer and an event'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Pass the consumer''s name and the message''s header Postrider-Id.';
  END IF;
  INSERT INTO postrider.inbox AS i (consumer, event) VALUES (consumer, event)
    ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING;
  RETURN FOUND;
END
$$;
COMMENT ON FUNCTION postrider.inbox_claim(text, text) IS 'True the first time an event is claimed by a consumer in a transaction that commits; waits for a transaction that is claiming it';

REVOKE ALL ON FUNCTION postrider.inbox_claim(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION postrider.inbox_claim(text, text) TO postrider_reader;
