DROP FUNCTION outbox.accept_publication(text);
DROP FUNCTION outbox.publication_version(text);
DROP FUNCTION outbox.relay_note_foreign(text, bigint, bigint);
ALTER TABLE outbox.checkpoint DROP COLUMN publication_version, DROP COLUMN foreign_seq;
