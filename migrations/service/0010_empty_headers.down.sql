CREATE OR REPLACE FUNCTION outbox.checked_headers(headers jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  bad text;
BEGIN
  IF jsonb_typeof(headers) <> 'object' THEN
    RAISE EXCEPTION 'postrider: headers must be a JSON object, not %', jsonb_typeof(headers)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'For example ''{"traceparent": "00-..."}''.';
  END IF;
  SELECT h.key INTO bad FROM jsonb_each(headers) h WHERE h.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]{1,128}$' LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'postrider: malformed header name %', quote_literal(bad)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'A header name is made of letters, digits and !#$%&''*+-.^_`|~ (RFC 7230), without blanks.';
  END IF;
  SELECT h.key INTO bad FROM jsonb_each(headers) h WHERE h.key ~* '^(nats-|postrider-|ce-|content-type$)' LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'postrider: reserved header name %', quote_literal(bad)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Names that begin with Nats-, Postrider- or ce-, and Content-Type, are set by the relay.';
  END IF;
  SELECT h.key INTO bad FROM jsonb_each(headers) h WHERE jsonb_typeof(h.value) NOT IN ('string', 'number', 'boolean') LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'postrider: header % is not a string, number or boolean', quote_literal(bad)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave a header out instead of giving it null.';
  END IF;
  SELECT h.key INTO bad FROM jsonb_each_text(headers) h WHERE h.value ~ '[\u0001-\u001f\u007f]' LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'postrider: header % holds a control character', quote_literal(bad)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Encode the value, for example with percent-encoding.';
  END IF;
  RETURN (SELECT jsonb_object_agg(h.key, h.value) FROM jsonb_each_text(headers) h);
END
$$;

CREATE OR REPLACE FUNCTION outbox.emit(subject text, payload jsonb, key text DEFAULT NULL, type text DEFAULT NULL,
                            headers jsonb DEFAULT '{}', store text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF payload IS NULL THEN
    RAISE EXCEPTION 'postrider: payload is NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'An event without content is ''null''::jsonb or ''{}''::jsonb.';
  END IF;
  RETURN outbox.store_event(subject, payload, NULL, key, type, 'application/json', headers, store);
END
$$;

CREATE OR REPLACE FUNCTION outbox.emit_bytes(subject text, payload bytea, key text DEFAULT NULL, type text DEFAULT NULL,
                                  headers jsonb DEFAULT '{}',
                                  content_type text DEFAULT 'application/octet-stream',
                                  store text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF payload IS NULL THEN
    RAISE EXCEPTION 'postrider: payload is NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'An event without content is ''\x''::bytea.';
  END IF;
  RETURN outbox.store_event(subject, NULL, payload, key, type, content_type, headers, store);
END
$$;

COMMENT ON FUNCTION outbox.checked_headers(jsonb) IS 'Refuses headers that could not be carried; returns them with every value as text, or NULL for none';
