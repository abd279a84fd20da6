-- As 0004_maintain has them.

-- Drops one sealed partition, or unseals it when a late transaction has written into it since. NULL: busy.
CREATE OR REPLACE FUNCTION outbox.drop_partition(p_name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_xmax xid8;
  v_late boolean;
BEGIN
  SELECT sealed_xmax INTO v_xmax FROM outbox.partitions WHERE name = p_name FOR UPDATE;
  -- The parent first, in the order that a writer takes them: no deadlock.
  EXECUTE 'LOCK TABLE outbox.events IN ACCESS EXCLUSIVE MODE';
  EXECUTE format('LOCK TABLE outbox.%I IN ACCESS EXCLUSIVE MODE', p_name);
  EXECUTE format('SELECT EXISTS (SELECT 1 FROM outbox.%I WHERE xid >= $1)', p_name) INTO v_late USING v_xmax;
  IF v_late THEN
    UPDATE outbox.partitions SET sealed_xmax = NULL, sealed_lsn = NULL WHERE name = p_name;
    RETURN false;
  END IF;
  EXECUTE format('DROP TABLE outbox.%I', p_name);
  DELETE FROM outbox.partitions WHERE name = p_name;
  RETURN true;
EXCEPTION
  WHEN lock_not_available OR deadlock_detected THEN RETURN NULL;
END
$$;
COMMENT ON FUNCTION outbox.drop_partition(text) IS 'Drops a sealed partition: true; unseals it when rows came late: false; NULL when a lock is busy';

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

  FOR v_name IN SELECT name FROM outbox.partitions
                WHERE sealed_lsn < v_durable AND to_time < v_horizon ORDER BY from_time LOOP
    v_done := outbox.drop_partition(v_name);
    EXIT WHEN v_done IS NULL;
    IF v_done THEN v_dropped := v_dropped || v_name; ELSE v_late := v_late || v_name; END IF;
  END LOOP;

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

  RETURN jsonb_build_object('partitions_made', v_made, 'sealed', v_sealed, 'dropped', to_jsonb(v_dropped),
                            'unsealed', to_jsonb(v_late), 'default_rows_deleted', v_deleted,
                            'default_too_large', v_default > c_budget);
END
$$;

DROP FUNCTION outbox.is_droppable(text);
