-- The outbox: where services write events in their own transactions, and what the relay knows about them.
-- Runs as the schema's owner, who need not be a superuser. No BEGIN or COMMIT inside: the runner, or
-- `psql -1`, makes it one transaction.

DO $$
DECLARE
  role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY['postrider_writer', 'postrider_relay'] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
      EXCEPTION
        WHEN insufficient_privilege THEN
          RAISE EXCEPTION 'role "%" does not exist and % may not create it', role_name, current_user
            USING HINT = 'As an administrator: CREATE ROLE postrider_writer NOLOGIN; '
                         'CREATE ROLE postrider_relay NOLOGIN; then migrate again.';
        WHEN duplicate_object OR unique_violation THEN
          NULL;  -- another database of the cluster migrated at the same moment
      END;
    END IF;
  END LOOP;
END
$$;

CREATE SCHEMA outbox;
COMMENT ON SCHEMA outbox IS 'Postrider: events written with business data, carried to NATS JetStream';
REVOKE ALL ON SCHEMA outbox FROM PUBLIC;
GRANT USAGE ON SCHEMA outbox TO postrider_writer, postrider_relay;

CREATE TABLE IF NOT EXISTS outbox.schema_migrations (
  version    int         PRIMARY KEY,
  name       text        NOT NULL,
  checksum   text        NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE outbox.schema_migrations IS 'Migrations applied, one row a file; the relay refuses any other set than its own';
COMMENT ON COLUMN outbox.schema_migrations.version IS 'Number of the file; rising without gaps';
COMMENT ON COLUMN outbox.schema_migrations.name IS 'Name of the file after its number';
COMMENT ON COLUMN outbox.schema_migrations.checksum IS 'SHA-256 of the up file when it was applied; a changed file is an error';
COMMENT ON COLUMN outbox.schema_migrations.applied_at IS 'When it was applied, or adopted by baseline';

-- No primary key: an index on a random id costs the writer as much as the row itself, and an insert-only
-- publication needs no replica identity.
CREATE TABLE outbox.events (
  id            uuid        NOT NULL DEFAULT gen_random_uuid(),
  xid           xid8        NOT NULL DEFAULT pg_current_xact_id(),
  created_at    timestamptz NOT NULL DEFAULT now(),
  subject       text        NOT NULL,
  key           text,
  type          text,
  content_type  text,
  headers       jsonb,
  payload       jsonb,
  payload_bytes bytea,
  CONSTRAINT exactly_one_payload CHECK ((payload IS NULL) <> (payload_bytes IS NULL))
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE outbox.events IS 'Events of the table store; insert-only, written by outbox.emit alone, dropped by outbox.maintain when durable and past retention';
COMMENT ON COLUMN outbox.events.id IS 'What emit returned; carried as Postrider-Id; unique by construction';
COMMENT ON COLUMN outbox.events.xid IS 'Transaction that wrote the row: what repair selects by, since times do not order commits';
COMMENT ON COLUMN outbox.events.created_at IS 'Start of the writing transaction; chooses the partition, orders nothing';
COMMENT ON COLUMN outbox.events.subject IS 'NATS subject without the source''s name; allow-listed by emit';
COMMENT ON COLUMN outbox.events.key IS 'What events are about, for consumers; carried as Postrider-Key; no control characters';
COMMENT ON COLUMN outbox.events.type IS 'Kind of event, for consumers; carried as Postrider-Type; no control characters';
COMMENT ON COLUMN outbox.events.content_type IS 'Carried as Content-Type';
COMMENT ON COLUMN outbox.events.headers IS 'Object of strings carried as headers, numbers and booleans as their text; NULL for none; names and values checked by emit';
COMMENT ON COLUMN outbox.events.payload IS 'The event, when written by emit';
COMMENT ON COLUMN outbox.events.payload_bytes IS 'The event, when written by emit_bytes';

CREATE TABLE outbox.events_default PARTITION OF outbox.events DEFAULT;
COMMENT ON TABLE outbox.events_default IS 'Takes the rows of days that have no partition, so that emit works however long nobody maintained';

-- Costs nothing while that partition is empty, as it should be. Rising values: a writer adds to the last page.
-- (A BRIN index would be cheaper to write, but knows nothing of new pages until they are vacuumed.)
CREATE INDEX events_default_created_at ON outbox.events_default (created_at);

CREATE TABLE outbox.partitions (
  name        text        PRIMARY KEY,
  from_time   timestamptz NOT NULL,
  to_time     timestamptz NOT NULL,
  sealed_xmax xid8,
  sealed_lsn  pg_lsn
);
COMMENT ON TABLE outbox.partitions IS 'Daily partitions of outbox.events and how far each is on its way to be dropped';
COMMENT ON COLUMN outbox.partitions.name IS 'Name of the partition in schema outbox';
COMMENT ON COLUMN outbox.partitions.from_time IS 'First moment that it holds, inclusive';
COMMENT ON COLUMN outbox.partitions.to_time IS 'End, exclusive';
COMMENT ON COLUMN outbox.partitions.sealed_xmax IS 'Set once the day has passed: rows of transactions before it are all there is, unless a later one is found';
COMMENT ON COLUMN outbox.partitions.sealed_lsn IS 'Set once those transactions have ended: all its rows committed before this LSN';

CREATE TABLE outbox.settings (
  only_row          boolean  PRIMARY KEY DEFAULT true CHECK (only_row),
  max_payload_bytes int      NOT NULL DEFAULT 1048576 CHECK (max_payload_bytes BETWEEN 4096 AND 67108864),
  default_store     text     NOT NULL DEFAULT 'table' CHECK (default_store IN ('table', 'wal')),
  retention         interval NOT NULL DEFAULT '7 days' CHECK (retention >= interval '1 hour'),
  partitions_ahead  int      NOT NULL DEFAULT 14 CHECK (partitions_ahead BETWEEN 1 AND 400)
);
COMMENT ON TABLE outbox.settings IS 'One row of settings, changed with UPDATE by the owner';
COMMENT ON COLUMN outbox.settings.only_row IS 'Always true: there is one row';
COMMENT ON COLUMN outbox.settings.max_payload_bytes IS 'The broker''s max_payload; emit refuses what would not fit with its headers';
COMMENT ON COLUMN outbox.settings.default_store IS 'Store of events whose emit names none';
COMMENT ON COLUMN outbox.settings.retention IS 'How long durable rows stay: the horizon of a repair';
COMMENT ON COLUMN outbox.settings.partitions_ahead IS 'Days for which maintain makes partitions in advance';
INSERT INTO outbox.settings DEFAULT VALUES;

CREATE TABLE outbox.checkpoint (
  source         text        PRIMARY KEY CHECK (source ~ '^[a-z0-9_-]{1,40}$'),
  slot           text        NOT NULL,
  publication    text        NOT NULL,
  initialised    boolean     NOT NULL DEFAULT false,
  system_id      text        NOT NULL DEFAULT '',
  session        bigint      NOT NULL DEFAULT 0,
  incarnation    text,
  seq            bigint      NOT NULL DEFAULT 0,
  ordinal        bigint      NOT NULL DEFAULT 0,
  timeline       bigint      NOT NULL DEFAULT 0,
  lsn            pg_lsn      NOT NULL DEFAULT '0/0',
  idx            bigint      NOT NULL DEFAULT 0,
  part           int,
  xid            bigint      NOT NULL DEFAULT 0,
  commit_time_us bigint      NOT NULL DEFAULT 0,
  epoch          bigint      NOT NULL DEFAULT 0,
  confirm_to     pg_lsn      NOT NULL DEFAULT '0/0',
  epochs         jsonb       NOT NULL DEFAULT '[]',
  wal_store      boolean     NOT NULL DEFAULT false,
  updated_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE outbox.checkpoint IS 'One row a source: the newest message known to be durable in the broker, and what its slot may have forgotten';
COMMENT ON COLUMN outbox.checkpoint.source IS 'Name of the source: first token of its subjects';
COMMENT ON COLUMN outbox.checkpoint.slot IS 'Replication slot that covers it';
COMMENT ON COLUMN outbox.checkpoint.publication IS 'Publication that selects its changes';
COMMENT ON COLUMN outbox.checkpoint.initialised IS 'True once the slot exists: from then on every event is covered, and emit is allowed';
COMMENT ON COLUMN outbox.checkpoint.system_id IS 'System identifier of the cluster that the slot was made in';
COMMENT ON COLUMN outbox.checkpoint.session IS 'Raised by every relay session; writes of an older session are refused';
COMMENT ON COLUMN outbox.checkpoint.incarnation IS 'Creation time of the stream, as the broker prints it; NULL before one was bound';
COMMENT ON COLUMN outbox.checkpoint.seq IS 'Stream sequence of the durable message; while ordinal is 0, the stream''s last sequence at binding';
COMMENT ON COLUMN outbox.checkpoint.ordinal IS 'Ordinal of the newest durable message; 0 for none; never falls';
COMMENT ON COLUMN outbox.checkpoint.timeline IS 'Its position: timeline that owns the commit';
COMMENT ON COLUMN outbox.checkpoint.lsn IS 'Its position: start of the commit record';
COMMENT ON COLUMN outbox.checkpoint.idx IS 'Its position: index among the decoded changes of the transaction';
COMMENT ON COLUMN outbox.checkpoint.part IS 'Its position: part of a split row, else NULL';
COMMENT ON COLUMN outbox.checkpoint.xid IS 'Its fingerprint: transaction id';
COMMENT ON COLUMN outbox.checkpoint.commit_time_us IS 'Its fingerprint: commit time in microseconds since 1970-01-01 UTC';
COMMENT ON COLUMN outbox.checkpoint.epoch IS 'Epoch that encoded it';
COMMENT ON COLUMN outbox.checkpoint.confirm_to IS 'Highest LSN that the slot may have been told to forget; written before it is told; never falls';
COMMENT ON COLUMN outbox.checkpoint.epochs IS 'Settings of the epochs still needed, as the relay wrote them';
COMMENT ON COLUMN outbox.checkpoint.wal_store IS 'True while the relay carries logical messages: emit into the wal store is allowed';
COMMENT ON COLUMN outbox.checkpoint.updated_at IS 'When the row was last written; for people';

GRANT SELECT ON ALL TABLES IN SCHEMA outbox TO postrider_relay;
