-- How `postrider verify` halts a read model at an exact place. In the cursor's own row, because every applier moves
-- that row first: one that waits for the row's lock re-reads it, and sees the barrier, whatever its snapshot says.
ALTER TABLE postrider.cursor
  ADD COLUMN barrier_holder   text,
  ADD COLUMN barrier_timeline bigint  NOT NULL DEFAULT 0,
  ADD COLUMN barrier_lsn      pg_lsn  NOT NULL DEFAULT '0/0',
  ADD COLUMN barrier_reached  boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN postrider.cursor.barrier_holder IS 'The verify that holds the read model, NULL for none; void once nobody holds the advisory lock 28790, hashtext(readmodel)';
COMMENT ON COLUMN postrider.cursor.barrier_timeline IS 'Timeline of barrier_lsn; 0 while the place is not known yet';
COMMENT ON COLUMN postrider.cursor.barrier_lsn IS 'While held: only source transactions whose commit record starts before this LSN may be applied; 0/0: none';
COMMENT ON COLUMN postrider.cursor.barrier_reached IS 'True once the applier knows that all of them are applied';
