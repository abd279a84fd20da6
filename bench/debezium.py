"""Debezium Server as a side of a benchmark: its table, slot and stream, and its process. scripts/fetch-peers puts it below build/peers."""

import datetime
import os
import pathlib
import string
import subprocess
import time

from jetstream import JetStream
from servers import ROOT, Run

FOLDER = ROOT / "build/peers"
STREAM = "DEBEZIUM"
SILENCE = 60  # seconds without a new message, after which it counts as stuck; a JVM starts meanwhile


def installed():
    return (FOLDER / "debezium-server/run.sh").exists() and (FOLDER / "java/bin/java").exists()


def prepare(servers):
    """What must be there before the backlog is."""
    servers.sql("CREATE TABLE outboxevent (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype text NOT NULL, "
                "aggregateid text NOT NULL, type text NOT NULL, payload jsonb)")
    servers.sql("GRANT SELECT ON outboxevent TO relay")
    servers.sql("CREATE PUBLICATION debezium FOR TABLE outboxevent WITH (publish = 'insert')")
    servers.sql("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')")
    JetStream(servers.nats_url).make(STREAM, "outbox.event.>")
    template = string.Template((ROOT / "bench/peers/debezium.properties").read_text())
    (servers.folder / "debezium.properties").write_text(
        template.substitute(port=servers.environment["PGPORT"], folder=servers.folder, nats=servers.nats_url))


def insert(payload):
    """An INSERT of one event; a FROM clause may follow."""
    return f"INSERT INTO outboxevent (aggregatetype, aggregateid, type, payload) SELECT 'item', 'k', 'made', {payload}"


def start(servers):
    """run.sh replaces itself by the JVM, so this process is the one to measure and to kill. Heap and collector are the JVM's choice."""
    # Java 24 and later refuse Quarkus a reset of thread locals without the first of these.
    options = f"--add-opens=java.base/java.lang=ALL-UNNAMED -Dquarkus.config.locations={servers.folder}/debezium.properties"
    environment = servers.environment | {"JAVA_HOME": str(FOLDER / "java"), "JAVA_OPTS": options}
    with open(servers.folder / "debezium.log", "ab") as log:
        return subprocess.Popen(["./run.sh"], cwd=FOLDER / "debezium-server", env=environment, stdin=subprocess.DEVNULL,
                                stdout=log, stderr=log)


def drain(servers, events):
    """Starts it, and stops it when the stream has as many messages as there are events. Returns its Run, from the first message to the
    last by the stream's clock, and a dict: what it took before the first message, and how many messages there are in the end."""
    stream = JetStream(servers.nats_url)
    begun = time.time()
    process = start(servers)
    try:
        first = moment(wait_for(stream, process, 1)["first_ts"])
        start_cpu = cpu(process.pid)
        last = moment(wait_for(stream, process, events)["last_ts"])
        run = Run(last - first, cpu(process.pid) - start_cpu, peak_memory_kib(process.pid), "")
    finally:
        stop(servers, process)
    return run, {"start_seconds": round(first - begun, 3), "start_cpu": start_cpu, "stored": stream.messages(STREAM)}


def wait_for(stream, process, messages):
    """Until the stream has as many; its state then."""
    seen, silent_since = 0, time.monotonic()
    while (state := stream.state(STREAM))["messages"] < messages:
        if state["messages"] > seen:
            seen, silent_since = state["messages"], time.monotonic()
        if process.poll() is not None or time.monotonic() > silent_since + SILENCE:
            raise RuntimeError(f"Debezium Server has ended or is stuck at {seen} messages")
        time.sleep(0.02)
    return state


def stop(servers, process):
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # Its walsender's CPU counts for the server once it has ended.
    while servers.sql("SELECT active FROM pg_replication_slots WHERE slot_name = 'debezium'") == "t":
        time.sleep(0.05)


def cpu(pid):
    """Seconds of CPU of a process that runs."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def peak_memory_kib(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def moment(text):
    """Seconds of a time of nats-server's, which leaves out zeros at the end of its nanoseconds."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")
