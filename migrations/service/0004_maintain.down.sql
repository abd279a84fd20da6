DROP FUNCTION outbox.maintain();
DROP FUNCTION outbox.drop_partition(text);
DROP FUNCTION outbox.make_partition(date);
