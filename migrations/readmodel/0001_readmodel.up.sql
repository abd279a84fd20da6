-- Read models: what the applier keeps in the target database. Runs as the schema's owner, who need not be a
-- superuser. No BEGIN or COMMIT inside: the runner, or `psql -1`, makes it one transaction.

DO $$
DECLARE
  role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY['postrider_applier', 'postrider_reader'] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
      EXCEPTION
        WHEN insufficient_privilege THEN
          RAISE EXCEPTION 'role "%" does not exist and % may not create it', role_name, current_user
            USING HINT = 'As an administrator: CREATE ROLE postrider_applier NOLOGIN; '
                         'CREATE ROLE postrider_reader NOLOGIN; then migrate again.';
        WHEN duplicate_object OR unique_violation THEN
          NULL;  -- another database of the cluster migrated at the same moment
      END;
    END IF;
  END LOOP;
END
$$;

CREATE SCHEMA postrider;
COMMENT ON SCHEMA postrider IS 'Postrider: how far this database''s read models are, moved in the same transactions as their rows';
REVOKE ALL ON SCHEMA postrider FROM PUBLIC;
GRANT USAGE ON SCHEMA postrider TO postrider_applier, postrider_reader;

CREATE TABLE IF NOT EXISTS postrider.schema_migrations (
  version    int         PRIMARY KEY,
  name       text        NOT NULL,
  checksum   text        NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE postrider.schema_migrations IS 'Migrations applied, one row a file; the applier refuses any other set than its own';
COMMENT ON COLUMN postrider.schema_migrations.version IS 'Number of the file; rising without gaps';
COMMENT ON COLUMN postrider.schema_migrations.name IS 'Name of the file after its number';
COMMENT ON COLUMN postrider.schema_migrations.checksum IS 'SHA-256 of the up file when it was applied; a changed file is an error';
COMMENT ON COLUMN postrider.schema_migrations.applied_at IS 'When it was applied, or adopted by baseline';

-- What a projection receives. Text as it stands in the stream's headers; exactly one payload.
CREATE TYPE postrider.event AS (
  ordinal       bigint,
  position      text,
  subject       text,
  key           text,
  type          text,
  id            uuid,
  content_type  text,
  headers       jsonb,
  payload       jsonb,
  payload_bytes bytea,
  commit_time   timestamptz,
  last          boolean
);
COMMENT ON TYPE postrider.event IS 'One event of the stream, as a projection receives it in an array, in commit order';
COMMENT ON COLUMN postrider.event.ordinal IS 'Running number of the source''s messages, without gaps';
COMMENT ON COLUMN postrider.event.position IS 'timeline/LSN/index of its commit; sorts as text in commit order';
COMMENT ON COLUMN postrider.event.subject IS 'NATS subject, beginning with the source''s name';
COMMENT ON COLUMN postrider.event.key IS 'What the event is about; NULL when emit was given none';
COMMENT ON COLUMN postrider.event.type IS 'Kind of event; NULL when emit was given none';
COMMENT ON COLUMN postrider.event.id IS 'What emit returned';
COMMENT ON COLUMN postrider.event.content_type IS 'application/json for emit, what the service said for emit_bytes';
COMMENT ON COLUMN postrider.event.headers IS 'The service''s own headers, name to text; an empty object for none';
COMMENT ON COLUMN postrider.event.payload IS 'The payload where content_type is JSON and it is one, else NULL';
COMMENT ON COLUMN postrider.event.payload_bytes IS 'Any other payload, else NULL';
COMMENT ON COLUMN postrider.event.commit_time IS 'When the source committed, by the source''s clock';
COMMENT ON COLUMN postrider.event.last IS 'True on the last event of its source transaction';

CREATE TABLE postrider.cursor (
  readmodel      text        PRIMARY KEY CHECK (readmodel ~ '^[a-z0-9_]{1,40}(/rebuild)?$'),
  source         text        NOT NULL,
  stream         text        NOT NULL,
  generation     bigint      NOT NULL DEFAULT 1,
  incarnation    text        NOT NULL DEFAULT '',
  seq            bigint      NOT NULL DEFAULT 0,
  ordinal        bigint      NOT NULL DEFAULT 0,
  timeline       bigint      NOT NULL DEFAULT 0,
  lsn            pg_lsn      NOT NULL DEFAULT '0/0',
  idx            bigint      NOT NULL DEFAULT 0,
  part           int,
  xid            bigint      NOT NULL DEFAULT 0,
  commit_time_us bigint      NOT NULL DEFAULT 0,
  epoch          bigint      NOT NULL DEFAULT 0,
  updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20);
COMMENT ON TABLE postrider.cursor IS 'One row a read model: the newest event applied. Moved by compare-and-set in the transaction that applies, so a second applier cannot interleave';
COMMENT ON COLUMN postrider.cursor.readmodel IS 'Name of the read model; NAME/rebuild while it is built anew beside the live one';
COMMENT ON COLUMN postrider.cursor.source IS 'Source whose events it holds; never changes';
COMMENT ON COLUMN postrider.cursor.stream IS 'JetStream stream that it is read from';
COMMENT ON COLUMN postrider.cursor.generation IS 'Raised by every swap of a rebuild: an applier of the old tables loses its compare-and-set';
COMMENT ON COLUMN postrider.cursor.incarnation IS 'Creation time of that stream, as the broker prints it; empty before the first event';
COMMENT ON COLUMN postrider.cursor.seq IS 'Stream sequence of the newest event applied';
COMMENT ON COLUMN postrider.cursor.ordinal IS 'Its ordinal; 0 for none; never falls, but by the swap of a rebuild never below the live one';
COMMENT ON COLUMN postrider.cursor.timeline IS 'Its position: timeline that owns the commit';
COMMENT ON COLUMN postrider.cursor.lsn IS 'Its position: start of the commit record in the source';
COMMENT ON COLUMN postrider.cursor.idx IS 'Its position: index among the decoded changes of the transaction';
COMMENT ON COLUMN postrider.cursor.part IS 'Its position: part of a split row, else NULL';
COMMENT ON COLUMN postrider.cursor.xid IS 'Its fingerprint: the source''s transaction id';
COMMENT ON COLUMN postrider.cursor.commit_time_us IS 'Its fingerprint: commit time in microseconds since 1970-01-01 UTC';
COMMENT ON COLUMN postrider.cursor.epoch IS 'Epoch that encoded it';
COMMENT ON COLUMN postrider.cursor.updated_at IS 'When the row was last moved; for people';

CREATE TABLE postrider.coverage (
  readmodel  text        PRIMARY KEY REFERENCES postrider.cursor ON DELETE CASCADE,
  system_id  text        NOT NULL,
  timeline   bigint      NOT NULL,
  lsn        pg_lsn      NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20);
COMMENT ON TABLE postrider.coverage IS 'What the relay said over core NATS and the cursor has reached: nothing of the source up to lsn is missing. May fall back after a crash; the cursor does not';
COMMENT ON COLUMN postrider.coverage.readmodel IS 'The read model';
COMMENT ON COLUMN postrider.coverage.system_id IS 'System identifier of the source''s cluster';
COMMENT ON COLUMN postrider.coverage.timeline IS 'Timeline of the source''s server when it said so';
COMMENT ON COLUMN postrider.coverage.lsn IS 'Every commit of the source that starts before this LSN is applied';
COMMENT ON COLUMN postrider.coverage.updated_at IS 'When the row was last written; for people';

CREATE TABLE postrider.stopped (
  readmodel     text        PRIMARY KEY REFERENCES postrider.cursor ON DELETE CASCADE,
  first_ordinal bigint      NOT NULL,
  last_ordinal  bigint,
  position      text        NOT NULL,
  projection    text        NOT NULL,
  sqlstate      text        NOT NULL,
  error         text        NOT NULL,
  stopped_at    timestamptz NOT NULL DEFAULT now(),
  decision      text        CHECK (decision IN ('retry', 'skip')),
  decided_by    text
);
COMMENT ON TABLE postrider.stopped IS 'Read models that wait for a person: the source transaction that their projection refuses';
COMMENT ON COLUMN postrider.stopped.readmodel IS 'The read model; the others go on';
COMMENT ON COLUMN postrider.stopped.first_ordinal IS 'First event of the refused source transaction';
COMMENT ON COLUMN postrider.stopped.last_ordinal IS 'Last event of it; NULL when it was larger than memory and not read to its end';
COMMENT ON COLUMN postrider.stopped.position IS 'Position of its first event';
COMMENT ON COLUMN postrider.stopped.projection IS 'Projection that refused it';
COMMENT ON COLUMN postrider.stopped.sqlstate IS 'SQLSTATE of the refusal; empty when a C++ handler threw';
COMMENT ON COLUMN postrider.stopped.error IS 'Message of the refusal';
COMMENT ON COLUMN postrider.stopped.stopped_at IS 'When it was refused';
COMMENT ON COLUMN postrider.stopped.decision IS 'What `postrider apply retry` or `skip` ordered; the applier carries it out and deletes the row';
COMMENT ON COLUMN postrider.stopped.decided_by IS 'Database role that ordered it';

CREATE TABLE postrider.parked (
  readmodel     text              NOT NULL REFERENCES postrider.cursor ON DELETE CASCADE,
  first_ordinal bigint            NOT NULL,
  last_ordinal  bigint            NOT NULL,
  events        postrider.event[] NOT NULL,
  projection    text              NOT NULL,
  sqlstate      text              NOT NULL,
  error         text              NOT NULL,
  parked_at     timestamptz       NOT NULL DEFAULT now(),
  PRIMARY KEY (readmodel, first_ordinal)
);
COMMENT ON TABLE postrider.parked IS 'Whole source transactions set aside by policy on_poison = "park": the read model went on without them';
COMMENT ON COLUMN postrider.parked.readmodel IS 'The read model that lacks them';
COMMENT ON COLUMN postrider.parked.first_ordinal IS 'First event of the source transaction';
COMMENT ON COLUMN postrider.parked.last_ordinal IS 'Last event of it';
COMMENT ON COLUMN postrider.parked.events IS 'All its events, for `postrider apply retry`';
COMMENT ON COLUMN postrider.parked.projection IS 'Projection that refused it';
COMMENT ON COLUMN postrider.parked.sqlstate IS 'SQLSTATE of the refusal';
COMMENT ON COLUMN postrider.parked.error IS 'Message of the refusal';
COMMENT ON COLUMN postrider.parked.parked_at IS 'When it was set aside';

CREATE TABLE postrider.audit (
  id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at            timestamptz NOT NULL DEFAULT now(),
  by            text        NOT NULL DEFAULT session_user,
  action        text        NOT NULL CHECK (action IN ('retry', 'skip', 'park', 'rebuild')),
  readmodel     text        NOT NULL,
  first_ordinal bigint,
  last_ordinal  bigint,
  events        postrider.event[],
  detail        text        NOT NULL
);
COMMENT ON TABLE postrider.audit IS 'What people, and the parking policy, did to read models; written in the transaction that does it, never deleted by Postrider';
COMMENT ON COLUMN postrider.audit.id IS 'Running number';
COMMENT ON COLUMN postrider.audit.at IS 'When';
COMMENT ON COLUMN postrider.audit.by IS 'Database role that ordered it';
COMMENT ON COLUMN postrider.audit.action IS 'retry, skip, park or rebuild';
COMMENT ON COLUMN postrider.audit.readmodel IS 'Read model; not a reference, since the row outlives it';
COMMENT ON COLUMN postrider.audit.first_ordinal IS 'First event concerned, if any';
COMMENT ON COLUMN postrider.audit.last_ordinal IS 'Last event concerned, if any';
COMMENT ON COLUMN postrider.audit.events IS 'Events that were skipped, so that they are not lost';
COMMENT ON COLUMN postrider.audit.detail IS 'Error or reason, in words';

-- NULL for what is no jsonb: a content type promises JSON, but nobody has looked.
CREATE FUNCTION postrider.try_jsonb(payload text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN payload::jsonb;
EXCEPTION
  WHEN data_exception OR program_limit_exceeded THEN RETURN NULL;
END
$$;
COMMENT ON FUNCTION postrider.try_jsonb(text) IS 'The text as jsonb, or NULL where it is none';

-- Builds what a projection receives from arrays of columns: one statement, however many events. It never refuses a
-- payload: one that could not become an event could be neither applied nor set aside.
CREATE FUNCTION postrider.to_events(ordinals bigint[], positions text[], subjects text[], keys text[], types text[],
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

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA postrider FROM PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA postrider TO postrider_applier;
GRANT INSERT, UPDATE, DELETE ON postrider.cursor, postrider.coverage, postrider.stopped, postrider.parked TO postrider_applier;
GRANT INSERT ON postrider.audit TO postrider_applier;
GRANT EXECUTE ON FUNCTION postrider.to_events(bigint[], text[], text[], text[], text[], text[], text[], text[], text[], text[], bigint[], boolean[]), postrider.try_jsonb(text) TO postrider_applier;
GRANT SELECT ON postrider.cursor, postrider.coverage, postrider.stopped TO postrider_reader;
