ALTER TABLE postrider.cursor
  DROP COLUMN barrier_holder, DROP COLUMN barrier_timeline, DROP COLUMN barrier_lsn, DROP COLUMN barrier_reached;
