-- A day's partition is read for late rows before it is dropped. That was done under the lock which every emit
-- waits for, and a day that took longer to read than the relay's statement_timeout was never dropped.

-- Whether nothing was written into a sealed partition since. Then it is locked against writers, and stays so until
-- the transaction ends: reading a day of events takes long, and no other writer waits for it. Nobody waits for our
-- transaction id either, since there is none before something is written. A transaction that writes a late row has
-- the parent's lock and waits for the partition's, while maintain() has the partition's and will wait for the
-- parent's: lock_timeout ends that, and maintain() gives way. NULL: a lock is busy.
CREATE FUNCTION outbox.is_droppable(p_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_late boolean;
BEGIN
  EXECUTE format('LOCK TABLE ONLY outbox.%I IN SHARE MODE', p_name);
  EXECUTE format('SELECT EXISTS (SELECT 1 FROM outbox.%I WHERE xid >= $1)', p_name) INTO v_late
    USING (SELECT sealed_xmax FROM outbox.partitions WHERE name = p_name);
  RETURN NOT v_late;
EXCEPTION
  WHEN lock_not_available OR deadlock_detected THEN RETURN NULL;
END
$$;
COMMENT ON FUNCTION outbox.is_droppable(text) IS 'Locks a sealed partition against writers: true, or false where rows came late; NULL when a lock is busy';

-- Drops a partition that this transaction found droppable. False: the lock that every writer needs is busy.
CREATE OR REPLACE FUNCTION outbox.drop_partition(p_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  LOCK TABLE ONLY outbox.events IN ACCESS EXCLUSIVE MODE;
  EXECUTE format('DROP TABLE outbox.%I', p_name);
  DELETE FROM outbox.partitions WHERE name = p_name;
  RETURN true;
EXCEPTION
  WHEN lock_not_available OR deadlock_detected THEN RETURN false;
END
$$;
COMMENT ON FUNCTION outbox.drop_partition(text) IS 'Drops a partition that outbox.is_droppable has locked; false when a lock is busy';

CREATE OR REPLACE FUNCTION outbox.maintain() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' SET TimeZone = 'UTC'
AS $$
DECLARE
  v_settings outbox.settings;
  v_durable  pg_lsn;
  v_today    date := (now() AT TIME ZONE 'UTC')::date;
  v_horizon  timestamptz;
  v_xmin     xid8 := pg_snapshot_xmin(pg_current_snapshot());
  v_made     int := 0;
  v_sealed   int;
  v_droppable text[] := '{}';
  v_dropped  text[] := '{}';
  v_late     text[] := '{}';
  v_deleted  bigint := 0;
  v_done     boolean;
  v_name     text;
  -- Making a partition reads the default partition from end to end while every emit waits. So many bytes of it
  -- are read in one call, at most: well under a second.
  c_budget   CONSTANT bigint := 128 * 1024 * 1024;
  v_default  bigint := pg_relation_size('outbox.events_default');
BEGIN
  -- One at a time; a second caller has nothing to add.
  IF NOT pg_try_advisory_xact_lock(28786, 2) THEN
    RETURN jsonb_build_object('skipped', 'another maintain is running');
  END IF;
  SELECT * INTO v_settings FROM outbox.settings;
  SELECT min(confirm_to) INTO v_durable FROM outbox.checkpoint WHERE initialised;
  v_horizon := now() - v_settings.retention;

  -- Before anything takes the lock that every writer needs: old partitions are read from end to end. What is not
  -- looked at after some time waits for the next call.
  FOR v_name IN SELECT name FROM outbox.partitions
                WHERE sealed_lsn < v_durable AND to_time < v_horizon ORDER BY from_time LOOP
    v_done := outbox.is_droppable(v_name);
    EXIT WHEN v_done IS NULL;
    IF v_done THEN v_droppable := v_droppable || v_name; ELSE v_late := v_late || v_name; END IF;
    EXIT WHEN clock_timestamp() > now() + interval '30 s';
  END LOOP;
  UPDATE outbox.partitions SET sealed_xmax = NULL, sealed_lsn = NULL WHERE name = ANY (v_late);

  FOR i IN 0 .. v_settings.partitions_ahead LOOP
    EXIT WHEN (v_made + 1) * v_default > c_budget;
    v_done := outbox.make_partition(v_today + i);
    -- Writers queue behind us while we wait for a lock: once a call is enough, the next call goes on.
    EXIT WHEN v_done IS NULL;
    IF v_done THEN v_made := v_made + 1; END IF;
  END LOOP;

  -- A day that has passed is sealed in two steps: first the transactions that may have written into it are
  -- bounded; once they have ended, everything they wrote committed before the WAL's end of that moment.
  UPDATE outbox.partitions SET sealed_lsn = pg_current_wal_insert_lsn()
    WHERE sealed_lsn IS NULL AND sealed_xmax IS NOT NULL AND sealed_xmax <= v_xmin;
  GET DIAGNOSTICS v_sealed = ROW_COUNT;
  UPDATE outbox.partitions SET sealed_xmax = pg_snapshot_xmax(pg_current_snapshot())
    WHERE sealed_xmax IS NULL AND to_time < now();

  -- The default partition's rows: those of transactions that had ended when the durable place was behind us.
  -- Deletes are not published. A bounded number at a time.
  IF v_durable IS NOT NULL THEN
    INSERT INTO outbox.partitions (name, from_time, to_time)
      VALUES ('events_default', '-infinity', 'infinity') ON CONFLICT DO NOTHING;
    IF EXISTS (SELECT 1 FROM outbox.partitions WHERE name = 'events_default' AND sealed_lsn < v_durable) THEN
      DELETE FROM outbox.events_default d
        WHERE d.ctid IN (SELECT e.ctid FROM outbox.events_default e
                         WHERE e.created_at < v_horizon
                           AND e.xid < (SELECT sealed_xmax FROM outbox.partitions WHERE name = 'events_default')
                         LIMIT 50000);
      GET DIAGNOSTICS v_deleted = ROW_COUNT;
      UPDATE outbox.partitions SET sealed_xmax = NULL, sealed_lsn = NULL WHERE name = 'events_default';
    END IF;
    UPDATE outbox.partitions SET sealed_xmax = pg_snapshot_xmax(pg_current_snapshot())
      WHERE name = 'events_default' AND sealed_xmax IS NULL;
  END IF;

  -- Last, since every writer waits from here until the transaction ends.
  FOREACH v_name IN ARRAY v_droppable LOOP
    EXIT WHEN NOT outbox.drop_partition(v_name);
    v_dropped := v_dropped || v_name;
  END LOOP;

  RETURN jsonb_build_object('partitions_made', v_made, 'sealed', v_sealed, 'dropped', to_jsonb(v_dropped),
                            'unsealed', to_jsonb(v_late), 'default_rows_deleted', v_deleted,
                            'default_too_large', v_default > c_budget);
END
$$;
REVOKE ALL ON FUNCTION outbox.is_droppable(text) FROM PUBLIC;
