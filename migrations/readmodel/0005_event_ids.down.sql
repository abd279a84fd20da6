-- Builds what a projection receives from arrays of columns: one statement, however many events. It never refuses a
-- payload: one that could not become an event could be neither applied nor set aside.
CREATE OR REPLACE FUNCTION postrider.to_events(ordinals bigint[], positions text[], subjects text[], keys text[], types text[],
                                    ids text[], content_types text[], headers text[], payloads text[],
                                    payload_bytes text[], commit_times_us bigint[], lasts boolean[])
RETURNS postrider.event[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT coalesce(array_agg(ROW(o, p, s, k, t, i::uuid, c, h::jsonb, j::jsonb, decode(b, 'hex'),
                                  timestamptz 'epoch' + u * interval '1 microsecond', l)::postrider.event ORDER BY n), '{}')
    FROM ROWS FROM (unnest(ordinals), unnest(positions), unnest(subjects), unnest(keys), unnest(types), unnest(ids),
                    unnest(content_types), unnest(headers), unnest(payloads), unnest(payload_bytes),
                    unnest(commit_times_us), unnest(lasts))
         WITH ORDINALITY AS e (o, p, s, k, t, i, c, h, j, b, u, l, n));
EXCEPTION
  WHEN data_exception OR program_limit_exceeded THEN
    -- Some payload is no jsonb: each by itself.
    RETURN (
      SELECT array_agg(ROW(o, p, s, k, t, i::uuid, c, h::jsonb, v.json,
                           CASE WHEN j IS NOT NULL AND v.json IS NULL THEN convert_to(j, 'UTF8') ELSE decode(b, 'hex') END,
                           timestamptz 'epoch' + u * interval '1 microsecond', l)::postrider.event ORDER BY n)
      FROM ROWS FROM (unnest(ordinals), unnest(positions), unnest(subjects), unnest(keys), unnest(types), unnest(ids),
                      unnest(content_types), unnest(headers), unnest(payloads), unnest(payload_bytes),
                      unnest(commit_times_us), unnest(lasts))
           WITH ORDINALITY AS e (o, p, s, k, t, i, c, h, j, b, u, l, n),
           LATERAL (SELECT postrider.try_jsonb(j) AS json OFFSET 0) v);
END
$$;
COMMENT ON FUNCTION postrider.to_events(bigint[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bigint[], boolean[]) IS 'Columns of events to an array of postrider.event, in the order given; a payload that is no jsonb becomes payload_bytes';
COMMENT ON COLUMN postrider.event.id IS 'What emit returned';
COMMENT ON COLUMN postrider.event.headers IS 'The service''s own headers, name to text; an empty object for none';
