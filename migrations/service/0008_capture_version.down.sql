-- Back to 0007, which knows tables alone.
CREATE OR REPLACE FUNCTION outbox.capture_problem(p_source text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN p.oid IS NULL THEN 'does not exist'
              WHEN NOT (p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot)
                THEN 'does not publish every change, by root table'
              ELSE (SELECT 'does not hold ' || min(t.oid::regclass::text) || ' as it did'
                    FROM jsonb_each_text(c.captured) AS k (relid, version)
                    JOIN pg_class t ON t.oid = k.relid::oid
                    LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = t.oid AND r.xmin::text = k.version
                    WHERE r.oid IS NULL) END
  FROM outbox.checkpoint c LEFT JOIN pg_publication p ON p.pubname = c.publication || '_capture'
  WHERE c.source = p_source
$$;
CREATE OR REPLACE FUNCTION outbox.accept_capture(p_source text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE outbox.checkpoint c SET updated_at = now(), captured =
      (SELECT coalesce(jsonb_object_agg(r.prrelid::text, r.xmin::text), '{}') FROM pg_publication p
       JOIN pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = c.publication || '_capture')
    WHERE source = p_source
$$;
DROP FUNCTION outbox.published_tables(text);
ALTER TABLE outbox.checkpoint DROP COLUMN capture_version, DROP COLUMN capture_from;
