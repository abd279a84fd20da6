-- The capture publication itself, beside its tables: its flags, too, can be altered and put back between two looks.

ALTER TABLE outbox.checkpoint ADD COLUMN capture_version text;
COMMENT ON COLUMN outbox.checkpoint.capture_version IS 'OID and xmin of the capture publication that `postrider migrate up` vouches for, without its tables, which stand in captured; NULL: nobody has vouched for one yet';

ALTER TABLE outbox.checkpoint ADD COLUMN capture_from pg_lsn;
COMMENT ON COLUMN outbox.checkpoint.capture_from IS 'Commits before it cannot be decoded with the capture publication, which was made later; NULL: all that the slot has can be';

-- A source that was well until now stays so; one that was not has to be vouched for.
UPDATE outbox.checkpoint c SET capture_version = concat_ws('/', p.oid, p.xmin)
  FROM pg_catalog.pg_publication p
  WHERE p.pubname = c.publication || '_capture' AND outbox.capture_problem(c.source) IS NULL;

CREATE FUNCTION outbox.published_tables(p_publication text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(jsonb_object_agg(r.prrelid::text, r.xmin::text), '{}')
  FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = p_publication
$$;
COMMENT ON FUNCTION outbox.published_tables(text) IS 'OID of each table of a publication, and the version of its entry in the catalog: another one after any change of it, also one that was taken back';

-- Tables that were dropped are nobody's loss, and tables that somebody added are counted and not carried.
CREATE OR REPLACE FUNCTION outbox.capture_problem(p_source text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN p.oid IS NULL THEN 'does not exist'
              WHEN NOT (p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot)
                THEN 'does not publish every change, by root table'
              WHEN c.capture_version IS NULL THEN 'was never vouched for by `postrider migrate up`'
              WHEN c.capture_version <> concat_ws('/', p.oid, p.xmin) THEN 'was altered since `postrider migrate up` made it'
              ELSE (SELECT 'does not hold ' || min(t.oid::regclass::text) || ' as it did'
                    FROM jsonb_each_text(c.captured) AS k (relid, version)
                    JOIN pg_class t ON t.oid = k.relid::oid
                    LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = t.oid AND r.xmin::text = k.version
                    WHERE r.oid IS NULL) END
  FROM outbox.checkpoint c LEFT JOIN pg_publication p ON p.pubname = c.publication || '_capture'
  WHERE c.source = p_source
$$;

CREATE OR REPLACE FUNCTION outbox.accept_capture(p_source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_version text;
BEGIN
  SELECT concat_ws('/', p.oid, p.xmin) INTO v_version
    FROM outbox.checkpoint c JOIN pg_publication p ON p.pubname = c.publication || '_capture' WHERE c.source = p_source;
  IF v_version IS NULL THEN
    RAISE EXCEPTION 'postrider: source % or its capture publication does not exist', quote_literal(p_source)
      USING ERRCODE = 'no_data_found', HINT = 'SELECT source, publication FROM outbox.checkpoint; `postrider migrate up` makes the publication.';
  END IF;
  UPDATE outbox.checkpoint c SET updated_at = now(), captured = outbox.published_tables(publication || '_capture'),
      capture_version = v_version,
      capture_from = CASE WHEN split_part(capture_version, '/', 1) = split_part(v_version, '/', 1)
                          THEN capture_from ELSE pg_current_wal_insert_lsn() END
    WHERE source = p_source;
END
$$;

REVOKE ALL ON FUNCTION outbox.published_tables(text) FROM PUBLIC;
