"""The polling outbox as a side of a benchmark: its table and its program (bench/polling_outbox.cc)."""

from servers import PROGRAMS

STREAM = "POLL"


def prepare(servers):
    servers.sql("CREATE TABLE polled (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
                "event_id uuid DEFAULT gen_random_uuid(), subject text, key text, payload jsonb)")


def insert(payload):
    """An INSERT of one event; a FROM clause may follow."""
    return f"INSERT INTO polled (subject, key, payload) SELECT 'poll.item', 'k', {payload}"


def command(servers, events):
    """To be run with an empty PGOPTIONS: its commits wait for the flush, as a service's do."""
    where = f"host={servers.environment['PGHOST']} port={servers.environment['PGPORT']} dbname=shop user=postgres"
    return [PROGRAMS / "polling_outbox", where, servers.nats_url, str(events)]
