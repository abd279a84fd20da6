DROP FUNCTION outbox.disable_wal_store(text);
DROP FUNCTION outbox.emit_bytes(text, bytea, text, text, jsonb, text, text);
DROP FUNCTION outbox.emit(text, jsonb, text, text, jsonb, text);
DROP FUNCTION outbox.store_event(text, jsonb, bytea, text, text, text, jsonb, text);
DROP SEQUENCE outbox.wal_store_gate;
DROP FUNCTION outbox.wal_field(text);
DROP FUNCTION outbox.checked_headers(jsonb);
