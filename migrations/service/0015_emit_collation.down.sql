-- As 0013_fast_emit and 0010_empty_headers have them.

CREATE OR REPLACE FUNCTION outbox.store_event(p_subject text, p_json jsonb, p_bytes bytea, p_key text, p_type text,
                                   p_content_type text, p_headers jsonb, p_store text) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_id uuid := gen_random_uuid();
  v_headers jsonb;
  v_settings record;
  v_size bigint;
  v_lsn pg_lsn;
BEGIN
  SELECT s.max_payload_bytes, coalesce(p_store, s.default_store) AS store,
         EXISTS (SELECT 1 FROM outbox.checkpoint WHERE initialised) AS initialised
    INTO v_settings FROM outbox.settings s;
  IF NOT v_settings.initialised THEN
    RAISE EXCEPTION 'postrider: this database is not initialised, no slot covers its events yet'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run `postrider migrate up` to its end.';
  END IF;
  IF p_subject IS NULL OR p_subject !~ '^[A-Za-z0-9%=+:@/~-][A-Za-z0-9_%=+:@/~-]*([.][A-Za-z0-9_%=+:@/~-]+)*$'
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
    -- An assignment: a PERFORM would be planned anew at each call, which takes a hundred times as long.
    v_lsn := pg_logical_emit_message(true, 'postrider', outbox.wal_message(v_id, p_subject, p_key, p_type,
      p_content_type, v_headers::text, coalesce(p_bytes, convert_to(p_json::text, 'UTF8'))));
  ELSE
    RAISE EXCEPTION 'postrider: unknown store %', quote_literal(v_settings.store)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''table'' or ''wal''.';
  END IF;
  RETURN v_id;
END
$$;

-- Without SET search_path, which costs more than all checks together: every name says its schema, operators too.
CREATE OR REPLACE FUNCTION outbox.emit(subject text, payload jsonb, key text DEFAULT NULL, type text DEFAULT NULL,
                                       headers jsonb DEFAULT '{}', store text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
AS $$
DECLARE
  v_id pg_catalog.uuid;
  v_open pg_catalog.bool;
  v_lsn pg_catalog.pg_lsn;
BEGIN
  -- The usual event, of moderate size. Every other is store_event's, and so is every refusal.
  IF subject OPERATOR(pg_catalog.~) '^[A-Za-z0-9%=+:@/~-][A-Za-z0-9_%=+:@/~-]*([.][A-Za-z0-9_%=+:@/~-]+)*$'
     AND pg_catalog.octet_length(subject) OPERATOR(pg_catalog.<=) 200
     AND (key IS NULL OR (key OPERATOR(pg_catalog.~) '^[!-~]+$' AND pg_catalog.octet_length(key) OPERATOR(pg_catalog.<=) 250))
     AND (type IS NULL OR (type OPERATOR(pg_catalog.~) '^[!-~]+$' AND pg_catalog.octet_length(type) OPERATOR(pg_catalog.<=) 250))
     AND (headers IS NULL OR headers OPERATOR(pg_catalog.=) '{}')
     -- With all else less than what any max_payload_bytes allows.
     AND pg_catalog.octet_length(payload::pg_catalog.text) OPERATOR(pg_catalog.<=)
         (CASE WHEN pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) 'UTF8' THEN 2700 ELSE 0 END) THEN
    IF store OPERATOR(pg_catalog.=) 'wal' THEN
      -- Shared with other writers; outbox.disable_wal_store takes it alone and so waits for all of them.
      PERFORM pg_catalog.pg_advisory_xact_lock_shared(28786, 1);
      SELECT true INTO v_open FROM outbox.checkpoint c, outbox.wal_store_gate g
       WHERE c.initialised AND c.wal_store AND g.last_value OPERATOR(pg_catalog.=) 1 LIMIT 1;
      IF v_open THEN
        v_id := pg_catalog.gen_random_uuid();
        v_lsn := pg_catalog.pg_logical_emit_message(true, 'postrider', outbox.wal_message(v_id, subject, key, type,
          'application/json', NULL, pg_catalog.convert_to(payload::pg_catalog.text, 'UTF8')));
        RETURN v_id;
      END IF;
    ELSE
      INSERT INTO outbox.events (subject, key, type, content_type, payload)
      SELECT emit.subject, emit.key, emit.type, 'application/json', emit.payload FROM outbox.settings s
       WHERE coalesce(emit.store, s.default_store) OPERATOR(pg_catalog.=) 'table'
         AND EXISTS (SELECT FROM outbox.checkpoint c WHERE c.initialised)
      RETURNING id INTO v_id;
      IF v_id IS NOT NULL THEN
        RETURN v_id;
      END IF;
    END IF;
  END IF;
  IF payload IS NULL THEN
    RAISE EXCEPTION 'postrider: payload is NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'An event without content is ''null''::jsonb or ''{}''::jsonb.';
  END IF;
  RETURN outbox.store_event(subject, payload, NULL,
    CASE WHEN pg_catalog.rtrim(key) OPERATOR(pg_catalog.<>) '' THEN key END,
    CASE WHEN pg_catalog.rtrim(type) OPERATOR(pg_catalog.<>) '' THEN type END, 'application/json', headers, store);
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
  RETURN outbox.store_event(subject, NULL, payload, CASE WHEN rtrim(key) <> '' THEN key END,
                            CASE WHEN rtrim(type) <> '' THEN type END,
                            CASE WHEN rtrim(content_type) <> '' THEN content_type END, headers, store);
END
$$;
