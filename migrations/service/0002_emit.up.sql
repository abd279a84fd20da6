-- How services write events. Both functions run as the outbox's owner, so that writers need no right on any
-- table; they refuse at once what could not be carried, and the caller's transaction decides.

-- Checks headers and returns what is stored: every value as the text that will travel, or NULL for an empty
-- object. A number kept as a number would be read again on the way out, and lose digits or not be readable at
-- all (1e400). Only called when there are any.
CREATE FUNCTION outbox.checked_headers(headers jsonb) RETURNS jsonb
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
COMMENT ON FUNCTION outbox.checked_headers(jsonb) IS 'Refuses headers that could not be carried; returns them with every value as text, or NULL for none';

-- A field of a logical message: byte length and UTF-8 bytes, or -1 for NULL.
CREATE FUNCTION outbox.wal_field(field text) RETURNS bytea
LANGUAGE sql IMMUTABLE
AS $$
  SELECT CASE WHEN field IS NULL THEN '\xffffffff'::pg_catalog.bytea
    ELSE pg_catalog.int4send(pg_catalog.octet_length(pg_catalog.convert_to(field, 'UTF8')))
         OPERATOR(pg_catalog.||) pg_catalog.convert_to(field, 'UTF8') END
$$;
COMMENT ON FUNCTION outbox.wal_field(text) IS 'Encodes one text field of the wal store''s message';

-- A sequence, because its value is no row version: a transaction that still reads an old snapshot (REPEATABLE
-- READ) sees the value of now, and does not write events that nobody carries any more.
CREATE SEQUENCE outbox.wal_store_gate AS int MINVALUE 0 MAXVALUE 1 START 0;
COMMENT ON SEQUENCE outbox.wal_store_gate IS 'Last value 1 while some source has the wal store open, else 0; set under the checkpoint row''s lock';

-- The one place where an event is checked and stored. Exactly one of json and bytes is given.
CREATE FUNCTION outbox.store_event(p_subject text, p_json jsonb, p_bytes bytea, p_key text, p_type text,
                                   p_content_type text, p_headers jsonb, p_store text) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_id uuid := gen_random_uuid();
  v_headers jsonb;
  v_settings record;
  v_size bigint;
BEGIN
  SELECT s.max_payload_bytes, coalesce(p_store, s.default_store) AS store,
         EXISTS (SELECT 1 FROM outbox.checkpoint WHERE initialised) AS initialised
    INTO v_settings FROM outbox.settings s;
  IF NOT v_settings.initialised THEN
    RAISE EXCEPTION 'postrider: this database is not initialised, no slot covers its events yet'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run `postrider migrate up` to its end.';
  END IF;
  IF p_subject IS NULL OR p_subject !~ '^[A-Za-z0-9%=+:@/~-][A-Za-z0-9_%=+:@/~-]*(\.[A-Za-z0-9_%=+:@/~-]+)*$'
     OR octet_length(p_subject) > 200 THEN
    RAISE EXCEPTION 'postrider: bad subject %', coalesce(quote_literal(p_subject), 'NULL')
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Tokens of A-Z a-z 0-9 _ % = + : @ / ~ - joined by single dots, at most 200 bytes, not '
                   'beginning with _; percent-encode other characters.';
  END IF;
  IF (p_key IS NOT NULL AND p_key ~ '[\u0001-\u001f\u007f]') OR (p_type IS NOT NULL AND p_type ~ '[\u0001-\u001f\u007f]')
     OR (p_content_type IS NOT NULL AND p_content_type ~ '[\u0001-\u001f\u007f]') THEN
    RAISE EXCEPTION 'postrider: key, type or content type holds a control character'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'They travel in headers: percent-encode such values.';
  END IF;
  IF p_headers IS NOT NULL AND p_headers <> '{}' THEN
    v_headers := outbox.checked_headers(p_headers);
  END IF;

  -- Texts as they travel, in UTF-8. What the relay adds stays under 600 bytes.
  v_size := coalesce(octet_length(p_bytes), 0) + 600
          + octet_length(convert_to(concat(p_json::text, p_subject, p_key, p_type, p_content_type, v_headers::text), 'UTF8'));
  IF v_size > v_settings.max_payload_bytes THEN
    RAISE EXCEPTION 'postrider: event of % bytes with its headers, the limit is %', v_size, v_settings.max_payload_bytes
      USING ERRCODE = 'program_limit_exceeded',
            HINT = 'Store large data elsewhere and send a reference, or raise the broker''s max_payload and '
                   'then outbox.settings.max_payload_bytes.';
  END IF;

  IF v_settings.store = 'table' THEN
    INSERT INTO outbox.events (id, subject, key, type, content_type, headers, payload, payload_bytes)
    VALUES (v_id, p_subject, p_key, p_type, p_content_type, v_headers, p_json, p_bytes);
  ELSIF v_settings.store = 'wal' THEN
    -- Shared with other writers; outbox.disable_wal_store takes it alone and so waits for all of them.
    PERFORM pg_advisory_xact_lock_shared(28786, 1);
    IF NOT EXISTS (SELECT 1 FROM outbox.checkpoint WHERE initialised AND wal_store)
       OR NOT EXISTS (SELECT 1 FROM outbox.wal_store_gate WHERE last_value = 1) THEN
      RAISE EXCEPTION 'postrider: the wal store is off'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Set relay.wal_store = true and start the relay once; then it carries logical messages.';
    END IF;
    PERFORM pg_logical_emit_message(true, 'postrider',
      '\x01'::bytea || uuid_send(v_id) || outbox.wal_field(p_subject) || outbox.wal_field(p_key)
      || outbox.wal_field(p_type) || outbox.wal_field(p_content_type) || outbox.wal_field(v_headers::text)
      || coalesce(p_bytes, convert_to(p_json::text, 'UTF8')));
  ELSE
    RAISE EXCEPTION 'postrider: unknown store %', quote_literal(v_settings.store)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''table'' or ''wal''.';
  END IF;
  RETURN v_id;
END
$$;
COMMENT ON FUNCTION outbox.store_event(text, jsonb, bytea, text, text, text, jsonb, text) IS 'Checks and stores one event; called by emit and emit_bytes alone';

CREATE FUNCTION outbox.emit(subject text, payload jsonb, key text DEFAULT NULL, type text DEFAULT NULL,
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
COMMENT ON FUNCTION outbox.emit(text, jsonb, text, text, jsonb, text) IS 'Writes an event with a JSON payload in the caller''s transaction; returns its id';

CREATE FUNCTION outbox.emit_bytes(subject text, payload bytea, key text DEFAULT NULL, type text DEFAULT NULL,
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
COMMENT ON FUNCTION outbox.emit_bytes(text, bytea, text, text, jsonb, text, text) IS 'Writes an event with any bytes as payload in the caller''s transaction; returns its id';

CREATE FUNCTION outbox.disable_wal_store(p_source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(28786, 1);
  UPDATE outbox.checkpoint SET wal_store = false, updated_at = now() WHERE source = p_source;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'postrider: unknown source %', quote_literal(p_source)
      USING ERRCODE = 'no_data_found', HINT = 'SELECT source FROM outbox.checkpoint';
  END IF;
  -- Not undone by a rollback, which leaves the store closed until the relay's next session: the safe side.
  IF NOT EXISTS (SELECT 1 FROM outbox.checkpoint WHERE wal_store) THEN
    PERFORM setval('outbox.wal_store_gate', 0);
  END IF;
END
$$;
COMMENT ON FUNCTION outbox.disable_wal_store(text) IS 'Closes the wal store once its writers have ended; then the relay may run with wal_store = false';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA outbox FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.emit(text, jsonb, text, text, jsonb, text),
                          outbox.emit_bytes(text, bytea, text, text, jsonb, text, text) TO postrider_writer;
