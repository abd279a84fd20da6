-- Back to 0008, which does not look at generated columns.
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
