-- Captured tables: in a publication of their own, named after the source's with _capture behind it.

ALTER TABLE outbox.checkpoint ADD COLUMN captured jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN outbox.checkpoint.captured IS 'What `postrider migrate up` made of the capture publication: OID of each table, and the version of its entry in the catalog';

-- Tables that were dropped are nobody's loss, and tables that somebody added are counted and not carried.
CREATE FUNCTION outbox.capture_problem(p_source text) RETURNS text
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
COMMENT ON FUNCTION outbox.capture_problem(text) IS 'Why changes of captured tables may be missing in what is decoded; NULL: they are not';

CREATE FUNCTION outbox.accept_capture(p_source text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE outbox.checkpoint c SET updated_at = now(), captured =
      (SELECT coalesce(jsonb_object_agg(r.prrelid::text, r.xmin::text), '{}') FROM pg_publication p
       JOIN pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = c.publication || '_capture')
    WHERE source = p_source
$$;
COMMENT ON FUNCTION outbox.accept_capture(text) IS 'The owner''s word that the capture publication is as it should be, and that changes which it left out are looked after; `postrider migrate up` says it of its own changes';

REVOKE ALL ON FUNCTION outbox.capture_problem(text), outbox.accept_capture(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.capture_problem(text) TO postrider_relay;
