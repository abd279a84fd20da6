DROP FUNCTION outbox.accept_capture(text);
DROP FUNCTION outbox.capture_problem(text);
ALTER TABLE outbox.checkpoint DROP COLUMN captured;
