-- Takes the outbox away, with its events. The roles stay: other databases of the cluster may use them.
DROP TABLE outbox.checkpoint;
DROP TABLE outbox.settings;
DROP TABLE outbox.partitions;
DROP TABLE outbox.events;
DROP TABLE outbox.schema_migrations;
DROP SCHEMA outbox;
