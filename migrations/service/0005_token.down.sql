DROP FUNCTION outbox.token();
