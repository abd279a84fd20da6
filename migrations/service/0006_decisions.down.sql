DROP FUNCTION outbox.accept_publication(text);
DROP FUNCTION outbox.publication_version(text);
ALTER TABLE outbox.checkpoint DROP COLUMN publication_version;
