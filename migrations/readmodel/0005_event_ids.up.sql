-- Events of existing outbox tables, whose ids are of any type: one that is no uuid stopped a read model for good.
-- Builds what a projection receives from arrays of columns: one statement, however many events. It never refuses a
-- payload and no id: what could not become an event could be neither applied nor set aside.
CREATE OR REPLACE FUNCTION postrider.to_events(ordinals bigint[], positions text[], subjects text[], keys text[], types text[],
                                    ids text[], content_types text[], headers text[], payloads text[],
                                    payload_bytes text[], commit_times_us bigint[], lasts boolean[])
RETURNS postrider.event[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- What the type takes: an id that it does not is text of another tool's. To match it costs more than all the rest,
  -- so that at first only the length decides: no text of a uuid is shorter than 32.
  c_uuid constant text := '^(\{([0-9a-f]{4}-?){7}[0-9a-f]{4}\}|([0-9a-f]{4}-?){7}[0-9a-f]{4})$';
BEGIN
  RETURN (
    SELECT coalesce(array_agg(ROW(o, p, s, k, t, CASE WHEN length(i) >= 32 THEN i::uuid END, c,
                                  CASE WHEN length(i) < 32 THEN h::jsonb || jsonb_build_object('Postrider-Id', i) ELSE h::jsonb END,
                                  j::jsonb, decode(b, 'hex'),
                                  timestamptz 'epoch' + u * interval '1 microsecond', l)::postrider.event ORDER BY n), '{}')
    FROM ROWS FROM (unnest(ordinals), unnest(positions), unnest(subjects), unnest(keys), unnest(types), unnest(ids),
                    unnest(content_types), unnest(headers), unnest(payloads), unnest(payload_bytes),
                    unnest(commit_times_us), unnest(lasts))
         WITH ORDINALITY AS e (o, p, s, k, t, i, c, h, j, b, u, l, n));
EXCEPTION
  WHEN data_exception OR program_limit_exceeded THEN
    -- Some payload is no jsonb, or some long id no uuid: each by itself.
    RETURN (
      SELECT array_agg(ROW(o, p, s, k, t, CASE WHEN x.is_uuid THEN i::uuid END, c,
                           CASE WHEN x.is_uuid IS FALSE THEN h::jsonb || jsonb_build_object('Postrider-Id', i) ELSE h::jsonb END,
                           v.json,
                           CASE WHEN j IS NOT NULL AND v.json IS NULL THEN convert_to(j, 'UTF8') ELSE decode(b, 'hex') END,
                           timestamptz 'epoch' + u * interval '1 microsecond', l)::postrider.event ORDER BY n)
      FROM ROWS FROM (unnest(ordinals), unnest(positions), unnest(subjects), unnest(keys), unnest(types), unnest(ids),
                      unnest(content_types), unnest(headers), unnest(payloads), unnest(payload_bytes),
                      unnest(commit_times_us), unnest(lasts))
           WITH ORDINALITY AS e (o, p, s, k, t, i, c, h, j, b, u, l, n),
           LATERAL (SELECT i ~* c_uuid AS is_uuid OFFSET 0) x,
           LATERAL (SELECT postrider.try_jsonb(j) AS json OFFSET 0) v);
END
$$;
COMMENT ON FUNCTION postrider.to_events(bigint[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bigint[], boolean[]) IS 'Columns of events to an array of postrider.event, in the order given; a payload that is no jsonb becomes payload_bytes, an id that is no uuid a header';
COMMENT ON COLUMN postrider.event.id IS 'What emit returned, or the id of an existing outbox table; NULL for a row change, and where it is no uuid: then header Postrider-Id has its text';
COMMENT ON COLUMN postrider.event.headers IS 'The service''s own headers, name to text, and Postrider-Id where the id is no uuid; an empty object for none';
