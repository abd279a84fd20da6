-- What the relay must not decide alone: facts that it remembers, and what a person says about them.

ALTER TABLE outbox.checkpoint ADD COLUMN publication_version text;
COMMENT ON COLUMN outbox.checkpoint.publication_version IS 'outbox.publication_version of the publication that every commit since the slot was decoded with; NULL: it was missing';

-- A change and its reversal leave no other trace than new row versions. VACUUM keeps xmin.
CREATE FUNCTION outbox.publication_version(p_publication text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT concat_ws(' ', p.oid, p.xmin,
    (SELECT string_agg(concat_ws('/', r.oid, r.xmin), ' ' ORDER BY r.oid) FROM pg_publication_rel r WHERE r.prpubid = p.oid),
    (SELECT string_agg(concat_ws('/', n.oid, n.xmin), ' ' ORDER BY n.oid) FROM pg_publication_namespace n WHERE n.pnpubid = p.oid))
  FROM pg_publication p WHERE p.pubname = p_publication
$$;
COMMENT ON FUNCTION outbox.publication_version(text) IS 'A text that is another one after any change of the publication, also one that was taken back; NULL: there is none';

CREATE FUNCTION outbox.accept_publication(p_source text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_version text;
BEGIN
  UPDATE outbox.checkpoint SET publication_version = outbox.publication_version(publication), updated_at = now()
    WHERE source = p_source RETURNING publication_version INTO v_version;
  IF v_version IS NULL THEN
    RAISE EXCEPTION 'postrider: source % or its publication does not exist', quote_literal(p_source)
      USING ERRCODE = 'no_data_found', HINT = 'SELECT source, publication FROM outbox.checkpoint; `postrider migrate up` makes the publication.';
  END IF;
  RETURN v_version;
END
$$;
COMMENT ON FUNCTION outbox.accept_publication(text) IS 'The owner''s word that events which an altered publication left out are looked after; then the relay goes on';

ALTER TABLE outbox.checkpoint ADD COLUMN foreign_seq bigint;
COMMENT ON COLUMN outbox.checkpoint.foreign_seq IS 'Lowest stream sequence at which a session found the stream to hold more than this source''s messages; NULL: none. No session goes on in a stream that reaches it';

CREATE FUNCTION outbox.relay_note_foreign(p_source text, p_session bigint, p_seq bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE outbox.checkpoint SET foreign_seq = CASE WHEN p_seq IS NOT NULL THEN least(foreign_seq, p_seq) END, updated_at = now()
    WHERE source = p_source AND session = p_session;
  RETURN FOUND;
END
$$;
COMMENT ON FUNCTION outbox.relay_note_foreign(text, bigint, bigint) IS 'Notes where a foreign message was seen, or with NULL that the stream lost that sequence again; false: a newer session exists';

REVOKE ALL ON FUNCTION outbox.publication_version(text), outbox.accept_publication(text),
  outbox.relay_note_foreign(text, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox.publication_version(text), outbox.relay_note_foreign(text, bigint, bigint) TO postrider_relay;

UPDATE outbox.checkpoint SET publication_version = outbox.publication_version(publication);
