-- Back to 0009.
DROP FUNCTION outbox.backfill_lost(text, oid, text);
DROP FUNCTION outbox.backfill_begin(bigint);
DROP FUNCTION outbox.backfill_moved(text, oid, jsonb, bigint);
DROP FUNCTION outbox.backfill_xid(bigint);
DROP INDEX outbox.backfill_chunk_one_key;
DELETE FROM outbox.backfill_chunk c WHERE c.one_key AND c.rows IS NULL AND EXISTS (
  SELECT FROM outbox.backfill_chunk o WHERE o.backfill = c.backfill AND o.upper = c.upper AND o.one_key AND o.rows IS NULL AND o.chunk < c.chunk);
CREATE UNIQUE INDEX backfill_chunk_one_key ON outbox.backfill_chunk (backfill, upper) WHERE one_key AND rows IS NULL;
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
      EXECUTE format('SELECT count(*) FROM (SELECT FROM %s AS t WHERE %s LIMIT 2) AS some', v_pieces.rows_of, v_where) INTO rows;
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

CREATE OR REPLACE FUNCTION outbox.backfill_moved(p_source text, p_table oid, p_key jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_row outbox.backfill;
  v_key text[];
BEGIN
  IF NOT EXISTS (SELECT FROM outbox.backfill WHERE source = p_source AND state IN ('waiting', 'running', 'paused', 'failed')) THEN
    RETURN false;
  END IF;
  FOR v_row IN SELECT * FROM outbox.backfill WHERE source = p_source AND relid = p_table AND NOT replaces
      AND state IN ('waiting', 'running', 'paused', 'failed') FOR UPDATE LOOP
    v_key := ARRAY(SELECT p_key ->> k.name FROM unnest(v_row.key) WITH ORDINALITY AS k (name, place) ORDER BY k.place);
    IF array_position(v_key, NULL) IS NOT NULL THEN
      UPDATE outbox.backfill SET state = 'cancelled', ended_at = now(),
          problem = 'the key''s columns are others than when it began: rows that changed keys may be missing; start another one'
        WHERE id = v_row.id;
    ELSE
      INSERT INTO outbox.backfill_chunk (backfill, chunk, upper, one_key) VALUES (v_row.id, v_row.chunks_made + 1, v_key, true)
        ON CONFLICT DO NOTHING;
      UPDATE outbox.backfill SET chunks_made = chunks_made + 1 WHERE id = v_row.id;
    END IF;
  END LOOP;
  RETURN true;
END
$$;
COMMENT ON FUNCTION outbox.backfill_moved(text, oid, jsonb) IS 'A row took this key and the WAL does not hold all of it: it is carried again; false: no backfill of the source is under way';
REVOKE ALL ON FUNCTION outbox.backfill_moved(text, oid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.backfill_moved(text, oid, jsonb) TO postrider_relay;

CREATE OR REPLACE FUNCTION outbox.backfill_claim(p_backfill bigint, OUT chunk bigint, OUT alone boolean) RETURNS SETOF record
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.chunk, c.attempts > 0 OR c.one_key FROM outbox.backfill_chunk c
  WHERE c.backfill = p_backfill AND c.rows IS NULL AND (c.retry_at IS NULL OR c.retry_at <= clock_timestamp())
    AND EXISTS (SELECT FROM outbox.backfill b WHERE b.id = p_backfill AND b.state = 'running')
  ORDER BY c.chunk LIMIT 1 FOR UPDATE OF c SKIP LOCKED
$$;

CREATE OR REPLACE FUNCTION outbox.backfill_admit(p_backfill bigint, p_timeline bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_row outbox.backfill;
BEGIN
  UPDATE outbox.backfill SET barrier = coalesce(barrier, pg_snapshot_xmax(pg_current_snapshot()))
    WHERE id = p_backfill AND state = 'waiting' RETURNING * INTO v_row;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF pg_snapshot_xmin(pg_current_snapshot()) >= v_row.barrier THEN
    UPDATE outbox.backfill SET state = 'running', timeline = p_timeline, admitted_at = now(), problem = NULL WHERE id = p_backfill;
    RETURN true;
  END IF;
  UPDATE outbox.backfill SET problem = concat(format('waits for transactions older than %s', v_row.barrier),
      (SELECT ': backends ' || string_agg(pid::text, ', ' ORDER BY pid) FROM pg_stat_activity
       WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()),
      (SELECT '; prepared transactions ' || string_agg(quote_literal(gid), ', ' ORDER BY gid) || ', to be committed or rolled back'
       FROM pg_prepared_xacts))
    WHERE id = p_backfill;
  RETURN false;
END
$$;

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
    UPDATE outbox.backfill_chunk SET attempts = attempts + 1,
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

ALTER TABLE outbox.backfill_chunk DROP COLUMN moved_by, DROP COLUMN begun;
