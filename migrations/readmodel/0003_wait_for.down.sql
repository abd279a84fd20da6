DROP FUNCTION postrider.wait_for(text, interval, text);
DROP FUNCTION postrider.covering(bigint, pg_lsn);
