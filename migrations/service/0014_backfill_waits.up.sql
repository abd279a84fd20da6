-- What backfills wait for, after a review.

-- A chunk whose one row was locked for too long was a syntax error when it was tried again.
CREATE OR REPLACE FUNCTION outbox.backfill_carry(p_backfill bigint, p_chunk bigint, OUT rows bigint, OUT bytes bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off SET DateStyle = 'ISO, MDY' SET TimeZone = 'UTC'
SET IntervalStyle = postgres SET extra_float_digits = 3 SET bytea_output = hex SET lc_monetary = 'C'
AS $$
DECLARE
  v_row outbox.backfill;
  v_chunk outbox.backfill_chunk;
  v_pieces record;
  v_table record;
  v_columns text;
  v_header jsonb;
  v_where text;
BEGIN
  SELECT * INTO STRICT v_row FROM outbox.backfill WHERE id = p_backfill;
  SELECT * INTO STRICT v_chunk FROM outbox.backfill_chunk c WHERE c.backfill = p_backfill AND c.chunk = p_chunk;
  v_pieces := outbox.backfill_pieces(v_row.relid, v_row.key);
  -- Columns stay as they are read here; and nobody writes where all rows are taken at one moment.
  EXECUTE format('LOCK TABLE ONLY %s IN %s MODE', v_pieces.name, CASE WHEN v_row.replaces THEN 'SHARE' ELSE 'ROW SHARE' END);
  IF v_row.replaces THEN  -- partitions: whoever writes by the root has ended, and nothing is waited for while it is held
    EXECUTE format('LOCK TABLE %s IN SHARE MODE NOWAIT', v_pieces.name);
  END IF;
  IF to_regclass(v_pieces.name) IS DISTINCT FROM v_row.relid::regclass THEN
    RAISE EXCEPTION 'postrider: the table was renamed meanwhile' USING ERRCODE = 'serialization_failure';
  END IF;
  SELECT n.nspname, c.relname, c.relreplident, r.prattrs,
         coalesce('(' || pg_get_expr(r.prqual, r.prrelid) || ')', 'true') AS filter
    INTO v_table
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN outbox.checkpoint k ON k.source = v_row.source
    JOIN pg_publication p ON p.pubname = k.publication || '_capture'
    JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
    WHERE c.oid = v_row.relid;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'postrider: % is no longer published', v_pieces.name
      USING ERRCODE = 'undefined_table', HINT = 'Cancel the backfill; or name the table in [[capture]] again and run `postrider migrate up`.';
  END IF;
  SELECT string_agg(format('t.%I', a.attname), ', ' ORDER BY a.attnum),
         jsonb_build_object('v', 1, 'schema', v_table.nspname, 'table', v_table.relname, 'identity', v_table.relreplident,
           'columns', jsonb_agg(jsonb_build_array(a.attname, a.atttypid::bigint, EXISTS (
             SELECT FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
             WHERE i.indrelid = a.attrelid AND i.indisvalid AND k.attnum = a.attnum AND k.place <= i.indnkeyatts
               AND CASE v_table.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)) ORDER BY a.attnum))
    INTO v_columns, v_header
    FROM pg_attribute a
    WHERE a.attrelid = v_row.relid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
      AND (v_table.prattrs IS NULL OR a.attnum = ANY (v_table.prattrs::int2[]));
  v_where := concat_ws(' AND ', v_table.filter, '(' || v_row.condition || E'\n)');
  IF v_row.replaces THEN
    PERFORM pg_logical_emit_message(true, 'postrider.backfill',
      convert_to((v_header || jsonb_build_object('kind', 'truncate'))::text || E'\n', 'UTF8'));
  ELSIF v_chunk.one_key THEN
    v_where := concat_ws(' AND ', v_where, outbox.backfill_bound(v_pieces.keys, '=', v_pieces.casts, v_chunk.upper));
  ELSE
    -- Both bounds: a row that a concurrent change takes across one of them is that change's to carry.
    v_where := concat_ws(' AND ', v_where, outbox.backfill_bound(v_pieces.keys, '>', v_pieces.casts, v_chunk.lower),
                         outbox.backfill_bound(v_pieces.keys, '<=', v_pieces.casts, v_chunk.upper));
    IF v_chunk.attempts > 0 THEN  -- it was found to hold one row, and is not bounded in time
      EXECUTE format('SELECT count(*) FROM (SELECT FROM %s AS t WHERE %s LIMIT 2) AS found', v_pieces.rows_of, v_where) INTO rows;
      IF rows > 1 THEN
        RAISE EXCEPTION 'postrider: the chunk has grown' USING ERRCODE = 'lock_not_available';
      END IF;
    END IF;
  END IF;
  -- Locked rows cannot change until this transaction has its place in the WAL. Messages of about 64 kB.
  EXECUTE format($q$
    WITH locked AS MATERIALIZED (SELECT ROW(%s)::text AS record FROM %s AS t WHERE %s %s),
         placed AS (SELECT record, sum(octet_length(record)) OVER (ROWS UNBOUNDED PRECEDING) - octet_length(record) AS place FROM locked),
         sent AS (SELECT pg_logical_emit_message(true, 'postrider.backfill', convert_to($1 || string_agg(record, ''), 'UTF8')) AS lsn,
                         count(*) AS n, sum(octet_length(record)) AS size
                  FROM placed GROUP BY place / 65536)
    SELECT coalesce(sum(n), 0), coalesce(sum(size), 0), max(lsn) FROM sent $q$,
    v_columns, v_pieces.rows_of, v_where,
    CASE WHEN NOT v_row.replaces THEN format('ORDER BY %s FOR SHARE OF t', v_pieces.keys) ELSE '' END)
    INTO rows, bytes USING (v_header || jsonb_build_object('kind', 'rows'))::text || E'\n';
  SELECT * INTO STRICT v_row FROM outbox.backfill WHERE id = p_backfill;
  IF v_row.state <> 'running' AND v_row.replaces THEN
    RAISE EXCEPTION 'postrider: nobody wants it any more' USING ERRCODE = 'query_canceled';
  ELSIF v_row.state = 'cancelled' THEN
    DELETE FROM outbox.backfill_chunk c WHERE c.backfill = p_backfill AND c.chunk = p_chunk;
  ELSE
    UPDATE outbox.backfill_chunk c SET rows = backfill_carry.rows WHERE c.backfill = p_backfill AND c.chunk = p_chunk;
  END IF;
END
$$;

-- A commit is in the WAL, and told by the relay, before others see it: for as long as its COMMIT waits for a
-- synchronous standby. A row that it moved is read when it is seen, and not before.
ALTER TABLE outbox.backfill_chunk ADD COLUMN moved_by xid8;
COMMENT ON COLUMN outbox.backfill_chunk.moved_by IS 'Transaction that took the row to its key: it is read once others see that; NULL: whenever';
-- Several of one key: one that is being carried may have been read before the next move. The hash, since an index
-- entry has less room than a key's text may need.
DROP INDEX outbox.backfill_chunk_one_key;
CREATE INDEX backfill_chunk_one_key ON outbox.backfill_chunk (backfill, hash_array(upper)) WHERE one_key AND rows IS NULL;

-- The newest one before our own: who calls it must have heard of the other before its transaction began.
CREATE FUNCTION outbox.backfill_xid(p_xid bigint) RETURNS xid8
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
  SELECT greatest(own.xid - ((own.xid - p_xid) & 4294967295), 3)::text::xid8
  FROM (SELECT pg_current_xact_id()::text::bigint AS xid) AS own
$$;
COMMENT ON FUNCTION outbox.backfill_xid(bigint) IS 'The transaction whose 32-bit id the WAL told';

CREATE OR REPLACE FUNCTION outbox.backfill_claim(p_backfill bigint, OUT chunk bigint, OUT alone boolean) RETURNS SETOF record
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.chunk, c.attempts > 0 OR c.one_key FROM outbox.backfill_chunk c
  WHERE c.backfill = p_backfill AND c.rows IS NULL AND (c.retry_at IS NULL OR c.retry_at <= clock_timestamp())
    AND (c.moved_by IS NULL OR pg_visible_in_snapshot(c.moved_by, pg_current_snapshot()))
    AND EXISTS (SELECT FROM outbox.backfill b WHERE b.id = p_backfill AND b.state = 'running')
  ORDER BY c.chunk LIMIT 1 FOR UPDATE OF c SKIP LOCKED
$$;

CREATE FUNCTION outbox.backfill_moved(p_source text, p_table oid, p_keys jsonb, p_xid bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_custom_plan  -- one made while there were few chunks would read all of many
AS $$
DECLARE
  v_moved_by xid8 := outbox.backfill_xid(p_xid);
  v_row outbox.backfill;
BEGIN
  IF NOT EXISTS (SELECT FROM outbox.backfill WHERE source = p_source AND state IN ('waiting', 'running', 'paused', 'failed')) THEN
    -- An order that the relay has heard of may not be seen yet. Its lock goes after that: then it is seen below.
    IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'relation' AND relation = 'outbox.backfill'::regclass
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()) THEN
      RETURN true;
    END IF;
    -- What moved before an order can be seen has ended before it is admitted.
    RETURN EXISTS (SELECT FROM outbox.backfill WHERE source = p_source AND state IN ('waiting', 'running', 'paused', 'failed'));
  END IF;
  FOR v_row IN SELECT * FROM outbox.backfill WHERE source = p_source AND relid = p_table AND NOT replaces
      AND state IN ('waiting', 'running', 'paused', 'failed') FOR UPDATE LOOP
    IF EXISTS (SELECT FROM jsonb_array_elements(p_keys) AS k (value) CROSS JOIN unnest(v_row.key) AS n (name)
               WHERE k.value ->> n.name IS NULL) THEN
      UPDATE outbox.backfill SET state = 'cancelled', ended_at = now(),
          problem = 'the key''s columns are others than when it began: rows that changed keys may be missing; start another one'
        WHERE id = v_row.id;
      CONTINUE;
    END IF;
    -- One that is pending waits for this move instead, which saw the one before. One that is being carried is
    -- locked, and may have been read before: then there is another one.
    WITH told AS MATERIALIZED (
      SELECT DISTINCT ARRAY(SELECT k.value ->> n.name FROM unnest(v_row.key) WITH ORDINALITY AS n (name, place) ORDER BY n.place) AS key
      FROM jsonb_array_elements(p_keys) AS k (value)),
    pending AS MATERIALIZED (
      SELECT c.chunk FROM told t JOIN outbox.backfill_chunk c ON hash_array(c.upper) = hash_array(t.key) AND c.upper = t.key
      WHERE c.backfill = v_row.id AND c.one_key AND c.rows IS NULL FOR UPDATE OF c SKIP LOCKED),
    put_off AS (
      UPDATE outbox.backfill_chunk c SET moved_by = v_moved_by FROM pending p WHERE c.backfill = v_row.id AND c.chunk = p.chunk
      RETURNING c.upper),
    made AS (
      INSERT INTO outbox.backfill_chunk (backfill, chunk, upper, one_key, moved_by)
      SELECT v_row.id, v_row.chunks_made + row_number() OVER (), t.key, true, v_moved_by FROM told t
      WHERE NOT EXISTS (SELECT FROM put_off p WHERE p.upper = t.key) RETURNING 1)
    UPDATE outbox.backfill SET chunks_made = chunks_made + (SELECT count(*) FROM made) WHERE id = v_row.id;
  END LOOP;
  RETURN true;
END
$$;
COMMENT ON FUNCTION outbox.backfill_moved(text, oid, jsonb, bigint) IS 'A transaction in the WAL took rows to these keys and the WAL does not hold all of them: they are carried again; false: no backfill of the source is under way';
REVOKE ALL ON FUNCTION outbox.backfill_xid(bigint), outbox.backfill_moved(text, oid, jsonb, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.backfill_moved(text, oid, jsonb, bigint) TO postrider_relay;

-- What a relay of before calls, which goes on until its session ends.
CREATE OR REPLACE FUNCTION outbox.backfill_moved(p_source text, p_table oid, p_key jsonb) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT outbox.backfill_moved(p_source, p_table, jsonb_build_array(p_key), NULL) $$;

-- What is written is what changed: an old transaction, which is waited for, keeps dead rows from being removed.
CREATE OR REPLACE FUNCTION outbox.backfill_admit(p_backfill bigint, p_timeline bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_row outbox.backfill;
BEGIN
  -- Newer than all that has begun, also than what others do not see yet.
  UPDATE outbox.backfill SET barrier = pg_current_xact_id() WHERE id = p_backfill AND state = 'waiting' AND barrier IS NULL;
  SELECT * INTO v_row FROM outbox.backfill WHERE id = p_backfill AND state = 'waiting';
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF pg_snapshot_xmin(pg_current_snapshot()) >= v_row.barrier THEN
    UPDATE outbox.backfill SET state = 'running', timeline = p_timeline, admitted_at = now(), problem = NULL
      WHERE id = p_backfill AND state = 'waiting';
    RETURN FOUND;
  END IF;
  v_row.problem := concat(format('waits for transactions older than %s', v_row.barrier),
      (SELECT ': backends ' || string_agg(pid::text, ', ' ORDER BY pid) FROM pg_stat_activity
       WHERE age(backend_xid) > age(v_row.barrier::xid) AND pid <> pg_backend_pid()),
      (SELECT '; prepared transactions ' || string_agg(quote_literal(gid), ', ' ORDER BY gid) || ', to be committed or rolled back'
       FROM pg_prepared_xacts WHERE age(transaction) > age(v_row.barrier::xid)));
  UPDATE outbox.backfill b SET problem = v_row.problem
    WHERE b.id = p_backfill AND b.state = 'waiting' AND b.problem IS DISTINCT FROM v_row.problem;
  RETURN false;
END
$$;

-- A replacement locks writers out each time it is tried: it is not tried without end. Counted before each attempt,
-- since one may end with its connection, the server or the relay.
ALTER TABLE outbox.backfill_chunk ADD COLUMN begun int NOT NULL DEFAULT 0;
COMMENT ON COLUMN outbox.backfill_chunk.begun IS 'Of a whole table: attempts since somebody resumed it, without those that did not get its lock';

CREATE FUNCTION outbox.backfill_begin(p_backfill bigint) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE outbox.backfill_chunk SET begun = begun + 1
    WHERE backfill = p_backfill AND chunk IN (
      SELECT c.chunk FROM outbox.backfill_chunk c
      WHERE c.backfill = p_backfill AND c.rows IS NULL AND (c.retry_at IS NULL OR c.retry_at <= clock_timestamp())
        AND EXISTS (SELECT FROM outbox.backfill b WHERE b.id = p_backfill AND b.state = 'running' AND b.replaces)
      FOR UPDATE OF c SKIP LOCKED)
    RETURNING begun
$$;
COMMENT ON FUNCTION outbox.backfill_begin(bigint) IS 'A whole table is about to be carried: how often that was begun; no chunk may be: NULL';
REVOKE ALL ON FUNCTION outbox.backfill_begin(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.backfill_begin(bigint) TO postrider_relay;

CREATE OR REPLACE FUNCTION outbox.backfill_decide(p_source text, p_table text, p_decision text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_row outbox.backfill;
BEGIN
  SELECT * INTO v_row FROM outbox.backfill
    WHERE source = p_source AND (table_name = p_table OR relid = outbox.backfill_find(p_table))
      AND (state IN ('waiting', 'running', 'paused') OR state = 'failed' AND p_decision <> 'pause')
    ORDER BY state = 'failed', id DESC LIMIT 1 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  IF p_decision = 'cancel' THEN
    UPDATE outbox.backfill SET state = 'cancelled', ended_at = now(), problem = NULL WHERE id = v_row.id RETURNING * INTO v_row;
    -- A chunk that is being carried sees at its end that nobody wants it any more.
    DELETE FROM outbox.backfill_chunk WHERE backfill = v_row.id AND chunk IN (
      SELECT c.chunk FROM outbox.backfill_chunk c WHERE c.backfill = v_row.id FOR UPDATE SKIP LOCKED);
  ELSIF p_decision = 'pause' THEN
    UPDATE outbox.backfill SET state = 'paused', problem = NULL WHERE id = v_row.id RETURNING * INTO v_row;
  ELSIF p_decision = 'resume' THEN
    UPDATE outbox.backfill SET state = CASE WHEN v_row.admitted_at IS NULL THEN 'waiting' ELSE 'running' END, problem = NULL, ended_at = NULL
      WHERE id = v_row.id RETURNING * INTO v_row;
    UPDATE outbox.backfill_chunk SET begun = 0 WHERE backfill = v_row.id AND chunk IN (
      SELECT c.chunk FROM outbox.backfill_chunk c WHERE c.backfill = v_row.id AND c.begun > 0 FOR UPDATE SKIP LOCKED);
    -- The relay looks at once, as at a new one.
    PERFORM pg_logical_emit_message(true, 'postrider.backfill', convert_to(E'{"v":1,"kind":"start"}\n', 'UTF8'));
  ELSE
    RAISE EXCEPTION 'postrider: unknown decision %', quote_literal(p_decision) USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN v_row.state;
END
$$;

CREATE OR REPLACE FUNCTION outbox.backfill_busy(p_backfill bigint, p_chunk bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off SET DateStyle = 'ISO, MDY' SET TimeZone = 'UTC'
SET IntervalStyle = postgres SET extra_float_digits = 3 SET bytea_output = hex SET lc_monetary = 'C'
AS $$
DECLARE
  v_row outbox.backfill;
  v_chunk outbox.backfill_chunk;
  v_pieces record;
  v_middle text[];
BEGIN
  SELECT * INTO v_row FROM outbox.backfill WHERE id = p_backfill;
  SELECT * INTO v_chunk FROM outbox.backfill_chunk c WHERE c.backfill = p_backfill AND c.chunk = p_chunk;
  IF NOT v_row.replaces AND NOT v_chunk.one_key THEN
    v_pieces := outbox.backfill_pieces(v_row.relid, v_row.key);
    EXECUTE format('SELECT key FROM (SELECT ARRAY[%s] AS key, row_number() OVER w AS place, count(*) OVER () AS rows '
                   'FROM %s AS t WHERE %s AND %s WINDOW w AS (ORDER BY %s)) AS keys WHERE place = rows / 2',
                   v_pieces.key_texts, v_pieces.rows_of,
                   outbox.backfill_bound(v_pieces.keys, '>', v_pieces.casts, v_chunk.lower),
                   outbox.backfill_bound(v_pieces.keys, '<=', v_pieces.casts, v_chunk.upper), v_pieces.keys) INTO v_middle;
  END IF;
  PERFORM FROM outbox.backfill_chunk c WHERE c.backfill = p_backfill AND c.chunk = p_chunk AND c.rows IS NULL
    AND c.upper IS NOT DISTINCT FROM v_chunk.upper FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF v_row.state = 'cancelled' THEN
    DELETE FROM outbox.backfill_chunk WHERE backfill = p_backfill AND chunk = p_chunk;
    RETURN false;
  END IF;
  IF v_middle IS NULL THEN
    UPDATE outbox.backfill_chunk SET attempts = attempts + 1, begun = greatest(begun - 1, 0),
        retry_at = clock_timestamp() + least(interval '5 seconds', interval '50 milliseconds' * 2 ^ least(v_chunk.attempts, 10))
      WHERE backfill = p_backfill AND chunk = p_chunk;
    RETURN false;
  END IF;
  UPDATE outbox.backfill_chunk SET upper = v_middle WHERE backfill = p_backfill AND chunk = p_chunk;
  UPDATE outbox.backfill SET chunks_made = chunks_made + 1 WHERE id = p_backfill RETURNING * INTO v_row;
  INSERT INTO outbox.backfill_chunk (backfill, chunk, lower, upper)
    VALUES (p_backfill, v_row.chunks_made, v_middle, v_chunk.upper);
  RETURN true;
END
$$;

CREATE FUNCTION outbox.backfill_lost(p_source text, p_table oid, p_problem text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE outbox.backfill SET state = 'cancelled', ended_at = now(), problem = p_problem
    WHERE source = p_source AND relid = p_table AND NOT replaces AND state IN ('waiting', 'running', 'paused', 'failed')
$$;
COMMENT ON FUNCTION outbox.backfill_lost(text, oid, text) IS 'Rows of the table that took other keys could not be noted: its backfill would miss them';
REVOKE ALL ON FUNCTION outbox.backfill_lost(text, oid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.backfill_lost(text, oid, text) TO postrider_relay;
