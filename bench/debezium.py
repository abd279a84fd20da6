"""Debezium Server as a side of a benchmark: its table, slot and stream, and its process. scripts/fetch-peers puts it below build/peers."""

import os
import pathlib
import string
import subprocess
import time

from jetstream import JetStream
from servers import ROOT

HOME = ROOT / "build/peers/debezium-server"
JAVA = ROOT / "build/peers/java"
STREAM = "DEBEZIUM"
SILENCE = 60  # seconds without a new message, after which it counts as stuck; a JVM starts meanwhile


def prepare(servers):
    """What must be there before the backlog is."""
    servers.sql("CREATE TABLE outboxevent (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype text NOT NULL, "
                "aggregateid text NOT NULL, type text NOT NULL, payload jsonb)")
    servers.sql("GRANT SELECT ON outboxevent TO relay")
    servers.sql("CREATE PUBLICATION debezium FOR TABLE outboxevent WITH (publish = 'insert')")
    servers.sql("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')")
    JetStream(servers.nats_url).make(STREAM, "outbox.event.>")
    template = string.Template((ROOT / "bench/peers/debezium.properties").read_text())
    (servers.folder / "debezium.properties").write_text(template.substitute(
        port=servers.environment["PGPORT"], folder=servers.folder, nats=servers.nats_url))


def insert(payload):
    """The SELECT list and target of an INSERT of one event; a FROM clause may follow."""
    return f"INSERT INTO outboxevent (aggregatetype, aggregateid, type, payload) SELECT 'item', 'k', 'made', {payload}"


def start(servers):
    """Starts it. run.sh replaces itself by the JVM, so the process is what is measured and killed."""
    environment = servers.environment | {"JAVA_HOME": str(JAVA), "JAVA_OPTS": f"--add-opens=java.base/java.lang=ALL-UNNAMED -Dquarkus.config.locations={servers.folder}/debezium.properties"}
    with open(servers.folder / "debezium.log", "ab") as log:
        return subprocess.Popen(["./run.sh"], cwd=HOME, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
