-- Backfills: rows that captured tables hold already, carried through the WAL like every change. A chunk of rows is
-- locked and written as logical messages in one transaction, which also says that the chunk is done.

CREATE TABLE outbox.backfill (
  id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source          text        NOT NULL,
  relid           oid         NOT NULL,
  table_name      text        NOT NULL,
  condition       text,
  replaces        boolean     NOT NULL,
  workers         int         NOT NULL CHECK (workers BETWEEN 1 AND 16),
  rows_per_second int         CHECK (rows_per_second > 0),
  key             text[],
  state           text        NOT NULL DEFAULT 'waiting'
                              CHECK (state IN ('waiting', 'running', 'paused', 'complete', 'cancelled', 'failed')),
  barrier         xid8,
  timeline        bigint,
  planned         text[],
  planned_all     boolean     NOT NULL DEFAULT false,
  chunks_made     bigint      NOT NULL DEFAULT 0,
  rows_done       bigint      NOT NULL DEFAULT 0,
  rows_expected   bigint      NOT NULL DEFAULT 0,
  problem         text,
  ordered_by      text        NOT NULL DEFAULT session_user,
  ordered_at      timestamptz NOT NULL DEFAULT now(),
  admitted_at     timestamptz,
  ended_at        timestamptz
);
COMMENT ON TABLE outbox.backfill IS 'Backfills that were ordered, and how far each is';
COMMENT ON COLUMN outbox.backfill.source IS 'Source whose relay carries it out';
COMMENT ON COLUMN outbox.backfill.relid IS 'OID of the table';
COMMENT ON COLUMN outbox.backfill.table_name IS 'Its name when it was ordered; for people';
COMMENT ON COLUMN outbox.backfill.condition IS 'SQL over a row: which rows; NULL: all';
COMMENT ON COLUMN outbox.backfill.replaces IS 'One transaction under a SHARE lock: a truncation, then every row';
COMMENT ON COLUMN outbox.backfill.workers IS 'Connections at work at the same time';
COMMENT ON COLUMN outbox.backfill.rows_per_second IS 'Upper bound; NULL: none';
COMMENT ON COLUMN outbox.backfill.key IS 'Columns that chunks are bounded by, in order';
COMMENT ON COLUMN outbox.backfill.barrier IS 'Begins when every transaction before it has ended: their changes may not have been published';
COMMENT ON COLUMN outbox.backfill.timeline IS 'The server''s when it began; on another one it begins anew, since what the relay noted may be lost';
COMMENT ON COLUMN outbox.backfill.planned IS 'Upper bound of the newest chunk in order of keys; NULL: none yet';
COMMENT ON COLUMN outbox.backfill.planned_all IS 'True when the newest chunk had no upper bound';
COMMENT ON COLUMN outbox.backfill.chunks_made IS 'Number of the newest chunk';
COMMENT ON COLUMN outbox.backfill.rows_done IS 'Rows carried, without those of done chunks that are still in backfill_chunk';
COMMENT ON COLUMN outbox.backfill.rows_expected IS 'The planner''s estimate when it was ordered';
COMMENT ON COLUMN outbox.backfill.problem IS 'What it waits for, or what ended it; for people';
COMMENT ON COLUMN outbox.backfill.ordered_by IS 'Role that ordered it';
COMMENT ON COLUMN outbox.backfill.ordered_at IS 'When';
COMMENT ON COLUMN outbox.backfill.admitted_at IS 'When the barrier was passed';
COMMENT ON COLUMN outbox.backfill.ended_at IS 'When it was complete, cancelled or failed';
CREATE UNIQUE INDEX backfill_active ON outbox.backfill (source, relid) WHERE state IN ('waiting', 'running', 'paused');

CREATE TABLE outbox.backfill_chunk (
  backfill bigint      NOT NULL REFERENCES outbox.backfill ON DELETE CASCADE,
  chunk    bigint      NOT NULL,
  lower    text[],
  upper    text[],
  one_key  boolean     NOT NULL DEFAULT false,
  attempts int         NOT NULL DEFAULT 0,
  retry_at timestamptz,
  rows     bigint,
  PRIMARY KEY (backfill, chunk)
);
COMMENT ON TABLE outbox.backfill_chunk IS 'Key ranges to be carried, and those done that are not yet counted in outbox.backfill';
COMMENT ON COLUMN outbox.backfill_chunk.backfill IS 'Of which backfill';
COMMENT ON COLUMN outbox.backfill_chunk.chunk IS 'Number within it';
COMMENT ON COLUMN outbox.backfill_chunk.lower IS 'Key, exclusive; NULL: from the beginning';
COMMENT ON COLUMN outbox.backfill_chunk.upper IS 'Key, inclusive; NULL: to the end';
COMMENT ON COLUMN outbox.backfill_chunk.one_key IS 'Only the row with key `upper`: it came from a pending range, and the WAL did not hold all of it';
COMMENT ON COLUMN outbox.backfill_chunk.attempts IS 'How often its rows were locked by others for too long';
COMMENT ON COLUMN outbox.backfill_chunk.retry_at IS 'Not before';
COMMENT ON COLUMN outbox.backfill_chunk.rows IS 'Rows carried; NULL: not done';
CREATE UNIQUE INDEX backfill_chunk_one_key ON outbox.backfill_chunk (backfill, upper) WHERE one_key AND rows IS NULL;

-- Columns of the replica identity's index, or of the primary key where the whole row is the identity. NULL: no key.
CREATE FUNCTION outbox.backfill_key(p_table oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT array_agg(a.attname::text ORDER BY k.place)
  FROM pg_class c
  JOIN pg_index i ON i.indrelid = c.oid AND i.indisvalid
                 AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
  CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
  WHERE c.oid = p_table AND k.place <= i.indnkeyatts
$$;
COMMENT ON FUNCTION outbox.backfill_key(oid) IS 'Columns that chunks of a table are bounded by; NULL: it has no key';

-- What statements about a table are made of. They run with the outbox's owner's rights, so nothing that the table's
-- owner may have made takes part: no domain's checks, no casts, no operators. A type that is not of pg_catalog (nor an
-- enum) is ordered by its text, which is what its output function writes.
CREATE FUNCTION outbox.backfill_pieces(p_table oid, p_key text[], OUT name text, OUT rows_of text, OUT keys text,
                                       OUT key_texts text, OUT casts text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT format('%I.%I', n.nspname, c.relname),
         format('%s%I.%I', CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END, n.nspname, c.relname) INTO name, rows_of
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = p_table;
  IF name IS NULL THEN
    RAISE EXCEPTION 'postrider: the table was dropped' USING ERRCODE = 'undefined_table';
  END IF;
  SELECT string_agg(CASE WHEN plain THEN format('t.%I', attname) ELSE format('format(''%%s'', t.%I) COLLATE "C"', attname) END, ', ' ORDER BY place),
         string_agg(format('format(''%%s'', t.%I)', attname), ', ' ORDER BY place),
         array_agg(CASE WHEN plain THEN format_type(base, -1) ELSE 'text' END ORDER BY place)
    INTO keys, key_texts, casts
    FROM (SELECT k.place, a.attname, b.oid AS base,
                 b.typtype = 'e' OR b.typnamespace = 'pg_catalog'::regnamespace AS plain
          FROM unnest(p_key) WITH ORDINALITY AS k (attname, place)
          JOIN pg_attribute a ON a.attrelid = p_table AND a.attname = k.attname AND NOT a.attisdropped
          CROSS JOIN LATERAL (
            WITH RECURSIVE types AS (
              SELECT t.* FROM pg_type t WHERE t.oid = a.atttypid
              UNION ALL SELECT t.* FROM types d JOIN pg_type t ON t.oid = d.typbasetype WHERE d.typtype = 'd')
            SELECT oid, typtype, typnamespace FROM types WHERE typtype <> 'd') AS b) AS columns;
  IF cardinality(casts) IS DISTINCT FROM cardinality(p_key) THEN
    RAISE EXCEPTION 'postrider: % no longer has the key that its backfill began with', name
      USING ERRCODE = 'undefined_column', HINT = 'Cancel the backfill and start another one.';
  END IF;
END
$$;
COMMENT ON FUNCTION outbox.backfill_pieces(oid, text[]) IS 'Name of a table, what holds its rows, and its key as SQL: to order by, as texts, and the types that bounds are cast to';

-- SQL that is true for keys beyond a bound of pieces' types: (keys) OPERATOR (bound).
CREATE FUNCTION outbox.backfill_bound(p_keys text, p_operator text, p_casts text[], p_bound text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN p_bound IS NULL THEN 'true'
    ELSE format('ROW(%s) %s ROW(%s)', p_keys, p_operator,
                (SELECT string_agg(format('%L::%s', b.value, p_casts[b.place]), ', ' ORDER BY b.place)
                 FROM unnest(p_bound) WITH ORDINALITY AS b (value, place))) END
$$;
COMMENT ON FUNCTION outbox.backfill_bound(text, text, text[], text[]) IS 'A comparison of a table''s key with a bound, as SQL';

CREATE FUNCTION outbox.backfill_find(p_table text) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_found oid[] := ARRAY(
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (n.nspname || '.' || c.relname = p_table OR format('%I.%I', n.nspname, c.relname) = p_table));
BEGIN
  IF cardinality(v_found) > 1 THEN
    RAISE EXCEPTION 'postrider: % is the name of more than one table', quote_literal(p_table)
      USING ERRCODE = 'ambiguous_alias', HINT = 'Quote it as in SQL: "schema"."table".';
  END IF;
  RETURN v_found[1];
END
$$;
COMMENT ON FUNCTION outbox.backfill_find(text) IS 'OID of a table by schema.table, as it is or quoted as in SQL';

CREATE FUNCTION outbox.backfill_start(p_source text, p_table text, p_condition text DEFAULT NULL,
                                      p_replace boolean DEFAULT false, p_workers int DEFAULT 1,
                                      p_rows_per_second int DEFAULT NULL, p_once boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off SET DateStyle = 'ISO, MDY' SET TimeZone = 'UTC'
AS $$
DECLARE
  v_table oid := outbox.backfill_find(p_table);
  v_key text[] := outbox.backfill_key(v_table);
  v_name text;
  v_plan json;
  v_id bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM outbox.checkpoint c JOIN pg_publication p ON p.pubname = c.publication || '_capture'
                 JOIN pg_publication_rel r ON r.prpubid = p.oid WHERE c.source = p_source AND r.prrelid = v_table) THEN
    RAISE EXCEPTION 'postrider: % is no captured table of source %', quote_literal(p_table), quote_literal(p_source)
      USING ERRCODE = 'undefined_table',
            HINT = 'Name it in [[capture]], run `postrider migrate up`, start the relay. Partitions are captured by their root.';
  END IF;
  v_name := format('%s', v_table::regclass);
  IF p_once AND EXISTS (SELECT FROM outbox.backfill WHERE source = p_source AND relid = v_table) THEN
    RETURN NULL;
  END IF;
  IF (p_condition IS NOT NULL OR p_replace) AND NOT pg_has_role(session_user, current_user, 'USAGE') THEN
    RAISE EXCEPTION 'postrider: a condition or a replacement is the outbox''s owner''s to order, not of %', session_user
      USING ERRCODE = 'insufficient_privilege', HINT = format('Set migrate.conninfo to connect as %I.', current_user);
  END IF;
  IF p_replace AND p_condition IS NOT NULL THEN
    RAISE EXCEPTION 'postrider: a replacement is of the whole table' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Leave out the condition, or the replacement.';
  END IF;
  IF v_key IS NULL AND NOT p_replace THEN
    RAISE EXCEPTION 'postrider: % has no primary key to be read by in chunks', v_name
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Add one; or replace the table as a whole (--replace), which locks out its writers meanwhile.';
  END IF;
  IF NOT has_table_privilege(v_table, 'SELECT') OR NOT has_table_privilege(v_table, 'UPDATE') THEN
    RAISE EXCEPTION 'postrider: the outbox''s owner % may not read and lock rows of %', current_user, v_name
      USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT SELECT, UPDATE ON %s TO %I', v_name, current_user);
  END IF;
  IF row_security_active(v_table) THEN
    RAISE EXCEPTION 'postrider: row security hides rows of % from the outbox''s owner %', v_name, current_user
      USING ERRCODE = 'insufficient_privilege', HINT = format('ALTER ROLE %I BYPASSRLS, or make it the table''s owner.', current_user);
  END IF;
  IF NOT p_replace AND position('COLLATE "C"' IN (outbox.backfill_pieces(v_table, v_key)).keys) > 0
     AND (SELECT reltuples FROM pg_class WHERE oid = v_table) > 1000000 THEN
    RAISE EXCEPTION 'postrider: the key of % has a type that is not built in: each chunk would read the whole table', v_name
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Replace the table as a whole (--replace), which locks out its writers meanwhile; or give it a key of a built-in type.';
  END IF;
  EXECUTE format(E'EXPLAIN (FORMAT JSON) SELECT FROM %s AS t WHERE (%s\n)', v_name, coalesce(p_condition, 'true')) INTO v_plan;
  BEGIN
    INSERT INTO outbox.backfill (source, relid, table_name, condition, replaces, workers, rows_per_second, key, rows_expected)
    VALUES (p_source, v_table, v_name, p_condition, p_replace, p_workers, p_rows_per_second,
            CASE WHEN NOT p_replace THEN v_key END, (v_plan -> 0 -> 'Plan' ->> 'Plan Rows')::bigint)
    RETURNING id INTO v_id;
  EXCEPTION WHEN unique_violation THEN
    IF p_once THEN
      RETURN NULL;
    END IF;
    RAISE EXCEPTION 'postrider: a backfill of % is under way', v_name
      USING ERRCODE = 'object_in_use', HINT = 'See `postrider backfill status`; `postrider backfill cancel` ends it.';
  END;
  -- The relay has to know in the order of the WAL, not of the clock.
  PERFORM pg_logical_emit_message(true, 'postrider.backfill', convert_to(E'{"v":1,"kind":"start"}\n', 'UTF8'));
  RETURN v_id;
END
$$;
COMMENT ON FUNCTION outbox.backfill_start(text, text, text, boolean, int, int, boolean) IS 'Orders a backfill and returns its id; p_once: only a table that never had one, else NULL';

CREATE FUNCTION outbox.backfill_decide(p_source text, p_table text, p_decision text) RETURNS text
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
COMMENT ON FUNCTION outbox.backfill_decide(text, text, text) IS 'pause, resume (also one that failed) or cancel; returns the new state, NULL when there is none';

-- The relay's steps. Each is one short transaction.

CREATE FUNCTION outbox.backfill_open(p_source text, p_timeline bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_begun_anew int;
BEGIN
  WITH anew AS (
    UPDATE outbox.backfill SET state = CASE state WHEN 'running' THEN 'waiting' ELSE state END, admitted_at = NULL, timeline = NULL,
        barrier = NULL, planned = NULL, planned_all = false, rows_done = 0
      WHERE source = p_source AND state IN ('waiting', 'running', 'paused', 'failed') AND timeline <> p_timeline RETURNING id),
    gone AS (DELETE FROM outbox.backfill_chunk c USING anew WHERE c.backfill = anew.id)
  SELECT count(*) INTO v_begun_anew FROM anew;
  RETURN v_begun_anew;
END
$$;
COMMENT ON FUNCTION outbox.backfill_open(text, bigint) IS 'At the start of a session: what began on another timeline begins anew; returns how many';

CREATE FUNCTION outbox.backfill_admit(p_backfill bigint, p_timeline bigint) RETURNS boolean
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
COMMENT ON FUNCTION outbox.backfill_admit(bigint, bigint) IS 'True once every transaction that may have written unpublished changes has ended';

CREATE FUNCTION outbox.backfill_plan(p_backfill bigint, p_rows bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off SET DateStyle = 'ISO, MDY' SET TimeZone = 'UTC'
SET IntervalStyle = postgres SET extra_float_digits = 3 SET bytea_output = hex SET lc_monetary = 'C'
AS $$
DECLARE
  v_row outbox.backfill;
  v_pieces record;
  v_lower text[];
  v_upper text[];
BEGIN
  SELECT * INTO v_row FROM outbox.backfill WHERE id = p_backfill AND state = 'running' AND NOT planned_all;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  v_lower := v_row.planned;
  IF NOT v_row.replaces THEN
    v_pieces := outbox.backfill_pieces(v_row.relid, v_row.key);
    EXECUTE format('SELECT ARRAY[%s] FROM %s AS t WHERE %s ORDER BY %s OFFSET %s LIMIT 1', v_pieces.key_texts, v_pieces.rows_of,
                   outbox.backfill_bound(v_pieces.keys, '>', v_pieces.casts, v_lower), v_pieces.keys, p_rows - 1) INTO v_upper;
  END IF;
  -- The relay notes moved rows in the same row: it is not locked while the bound is looked for.
  SELECT * INTO v_row FROM outbox.backfill
    WHERE id = p_backfill AND state = 'running' AND NOT planned_all AND planned IS NOT DISTINCT FROM v_lower FOR UPDATE;
  IF NOT FOUND THEN
    RETURN true;  -- another worker has made it
  END IF;
  INSERT INTO outbox.backfill_chunk (backfill, chunk, lower, upper)
    VALUES (p_backfill, v_row.chunks_made + 1, v_row.planned, v_upper);
  -- The next one begins where this one ends, whatever its rows will be by then.
  UPDATE outbox.backfill SET chunks_made = chunks_made + 1, planned = v_upper, planned_all = v_upper IS NULL WHERE id = p_backfill;
  WITH counted AS (DELETE FROM outbox.backfill_chunk c WHERE c.backfill = p_backfill AND c.rows IS NOT NULL RETURNING c.rows)
  UPDATE outbox.backfill SET rows_done = rows_done + coalesce((SELECT sum(counted.rows) FROM counted), 0) WHERE id = p_backfill;
  RETURN true;
END
$$;
COMMENT ON FUNCTION outbox.backfill_plan(bigint, bigint) IS 'Makes the next chunk, of about that many rows; false: there is none to make';

CREATE FUNCTION outbox.backfill_claim(p_backfill bigint, OUT chunk bigint, OUT alone boolean) RETURNS SETOF record
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.chunk, c.attempts > 0 OR c.one_key FROM outbox.backfill_chunk c
  WHERE c.backfill = p_backfill AND c.rows IS NULL AND (c.retry_at IS NULL OR c.retry_at <= clock_timestamp())
    AND EXISTS (SELECT FROM outbox.backfill b WHERE b.id = p_backfill AND b.state = 'running')
  ORDER BY c.chunk LIMIT 1 FOR UPDATE OF c SKIP LOCKED
$$;
COMMENT ON FUNCTION outbox.backfill_claim(bigint) IS 'Locks a chunk for this transaction, to be given to backfill_carry; alone: it holds one row at most';

CREATE FUNCTION outbox.backfill_carry(p_backfill bigint, p_chunk bigint, OUT rows bigint, OUT bytes bigint)
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
COMMENT ON FUNCTION outbox.backfill_carry(bigint, bigint) IS 'Locks a chunk''s rows and writes them into the WAL; the transaction''s commit is all that it leaves to do';

CREATE FUNCTION outbox.backfill_busy(p_backfill bigint, p_chunk bigint) RETURNS boolean
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
COMMENT ON FUNCTION outbox.backfill_busy(bigint, bigint) IS 'After a timeout: the chunk in two halves (true), or later';

CREATE FUNCTION outbox.backfill_moved(p_source text, p_table oid, p_key jsonb) RETURNS boolean
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

-- Where the WAL ends once every chunk has committed, with the number of chunks; no row while some are left.
CREATE FUNCTION outbox.backfill_done(p_backfill bigint, OUT chunks bigint, OUT lsn pg_lsn) RETURNS SETOF record
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT b.chunks_made, pg_current_wal_flush_lsn() FROM outbox.backfill b
  WHERE b.id = p_backfill AND b.state = 'running' AND b.planned_all
    AND NOT EXISTS (SELECT FROM outbox.backfill_chunk c WHERE c.backfill = b.id AND c.rows IS NULL)
$$;
COMMENT ON FUNCTION outbox.backfill_done(bigint) IS 'What the relay must have carried before the backfill is complete';

CREATE FUNCTION outbox.backfill_complete(p_backfill bigint, p_chunks bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM outbox.backfill b WHERE b.id = p_backfill AND b.state = 'running' AND b.chunks_made = p_chunks
    AND NOT EXISTS (SELECT FROM outbox.backfill_chunk c WHERE c.backfill = b.id AND c.rows IS NULL) FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  WITH counted AS (DELETE FROM outbox.backfill_chunk c WHERE c.backfill = p_backfill RETURNING c.rows)
  UPDATE outbox.backfill SET rows_done = rows_done + coalesce((SELECT sum(counted.rows) FROM counted), 0),
      state = 'complete', problem = NULL, ended_at = now() WHERE id = p_backfill;
  RETURN true;
END
$$;
COMMENT ON FUNCTION outbox.backfill_complete(bigint, bigint) IS 'Ends a backfill unless chunks were added meanwhile';

CREATE FUNCTION outbox.backfill_note(p_backfill bigint, p_problem text, p_failed boolean) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE outbox.backfill SET problem = nullif(p_problem, ''), state = CASE WHEN p_failed THEN 'failed' ELSE state END,
      ended_at = CASE WHEN p_failed THEN now() END
    WHERE id = p_backfill AND state IN ('waiting', 'running', 'paused')
$$;
COMMENT ON FUNCTION outbox.backfill_note(bigint, text, boolean) IS 'Says what a backfill waits for, or what ended it';

REVOKE ALL ON FUNCTION outbox.backfill_key(oid), outbox.backfill_pieces(oid, text[]),
  outbox.backfill_bound(text, text, text[], text[]), outbox.backfill_find(text),
  outbox.backfill_start(text, text, text, boolean, int, int, boolean), outbox.backfill_decide(text, text, text),
  outbox.backfill_open(text, bigint), outbox.backfill_admit(bigint, bigint), outbox.backfill_plan(bigint, bigint), outbox.backfill_claim(bigint),
  outbox.backfill_carry(bigint, bigint), outbox.backfill_busy(bigint, bigint),
  outbox.backfill_moved(text, oid, jsonb), outbox.backfill_done(bigint),
  outbox.backfill_complete(bigint, bigint), outbox.backfill_note(bigint, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  outbox.backfill_start(text, text, text, boolean, int, int, boolean), outbox.backfill_decide(text, text, text),
  outbox.backfill_open(text, bigint), outbox.backfill_admit(bigint, bigint), outbox.backfill_plan(bigint, bigint), outbox.backfill_claim(bigint),
  outbox.backfill_carry(bigint, bigint), outbox.backfill_busy(bigint, bigint),
  outbox.backfill_moved(text, oid, jsonb), outbox.backfill_done(bigint),
  outbox.backfill_complete(bigint, bigint), outbox.backfill_note(bigint, text, boolean) TO postrider_relay;
GRANT SELECT ON outbox.backfill, outbox.backfill_chunk TO postrider_relay;
