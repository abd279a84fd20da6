DROP FUNCTION outbox.relay_checkpoint(text, bigint, bigint, bigint, bigint, pg_lsn, bigint, int, bigint, bigint, bigint, pg_lsn);
DROP FUNCTION outbox.relay_set_epochs(text, bigint, jsonb, boolean);
DROP FUNCTION outbox.relay_bind_stream(text, bigint, text, bigint);
DROP FUNCTION outbox.relay_open(text);
