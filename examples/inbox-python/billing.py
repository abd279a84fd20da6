"""Bills every order exactly once: claim, effect and COMMIT in one transaction, and only then the
acknowledgement. Killed at any moment, started again, run several times at once: the invoices are
right. Stops on SIGTERM and SIGINT.

  NATS_URL, NATS_USER, NATS_PASSWORD   the broker; the last two may be absent
  POSTRIDER_STREAM                     the stream to read
  PGHOST, PGDATABASE, ...              the database that has the schema postrider
  ACK_WAIT_SECONDS                     after which an unacknowledged message comes again (30)
"""
import asyncio
import json
import os
import signal
import sys

import nats
import psycopg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

CONSUMER = "billing"
BATCH_MESSAGES = 50  # in flight in this process
MAX_ACK_PENDING = 200  # in flight in all processes together
RETRY_SECONDS = 1
STREAM = os.environ["POSTRIDER_STREAM"]

# A claim waits for another transaction that is claiming the same event: a bound for each way of hanging.
LIMITS = "-c lock_timeout=5s -c statement_timeout=10s -c idle_in_transaction_session_timeout=10s"


class Ledger:
    """The database; connects again after its connection broke."""

    def __init__(self):
        self.connection = None

    async def connected(self):
        if self.connection is None or self.connection.closed:
            self.connection = await psycopg.AsyncConnection.connect(
                application_name=CONSUMER, connect_timeout=5, options=LIMITS, autocommit=True)
        return self.connection

    async def bill(self, message):
        """Whether the event was billed now, and not by an earlier delivery. After a COMMIT that failed or was
        never answered nobody knows: it raises, the message comes again, and the claim tells."""
        db = await self.connected()
        headers = message.headers or {}
        async with db.transaction():
            claim = await db.execute("SELECT postrider.inbox_claim(%s, %s)", (CONSUMER, headers.get("Postrider-Id")))
            (first,) = await claim.fetchone()
            if first:
                await db.execute(
                    "INSERT INTO invoice VALUES (%s, 1, %s) ON CONFLICT (customer) "
                    "DO UPDATE SET orders = invoice.orders + 1, cents = invoice.cents + excluded.cents",
                    (headers["Postrider-Key"], json.loads(message.data)["cents"]))
        return first

    async def close(self):
        if self.connection is not None:
            await self.connection.close()


def complain(text):
    print(text, file=sys.stderr, flush=True)


async def handle(ledger, message):
    try:
        if not await ledger.bill(message):
            print("already billed:", message.headers["Postrider-Id"], flush=True)
        await message.ack()
    except Exception as error:  # whatever it was: the claim makes another attempt safe
        complain(f"{message.subject}, stream sequence {message.metadata.sequence.stream}: {error}; again later")
        await message.nak(delay=RETRY_SECONDS)


async def connected(stopping):
    async def on_error(error):
        complain(f"NATS: {error!r}")

    while not stopping.is_set():
        try:
            return await nats.connect(
                os.environ["NATS_URL"], user=os.environ.get("NATS_USER"), password=os.environ.get("NATS_PASSWORD"),
                name=CONSUMER, max_reconnect_attempts=-1, allow_reconnect=True, error_cb=on_error)
        except (OSError, nats.errors.Error) as error:
            complain(f"NATS: {error!r}; again later")
            await asyncio.sleep(RETRY_SECONDS)
    return None


async def read(connection, ledger, stopping):
    # By its name too: the broker's permissions are on $JS.API.CONSUMER.CREATE. An existing one is left alone.
    config = ConsumerConfig(
        name=CONSUMER, durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT,
        ack_wait=float(os.environ.get("ACK_WAIT_SECONDS", "30")), max_ack_pending=MAX_ACK_PENDING,
        deliver_policy=DeliverPolicy.ALL)
    subscription = await connection.jetstream().pull_subscribe(">", durable=CONSUMER, stream=STREAM, config=config)
    try:
        while not stopping.is_set():
            try:
                messages = await subscription.fetch(BATCH_MESSAGES, timeout=1)
            except nats.errors.TimeoutError:
                continue  # nothing new
            for message in messages:
                if stopping.is_set():
                    break  # comes again after ack_wait, here or elsewhere
                await handle(ledger, message)
    finally:
        await subscription.unsubscribe()


async def main():
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    connection = await connected(stopping)
    if connection is None:
        return
    ledger = Ledger()
    while not stopping.is_set():
        try:
            await read(connection, ledger, stopping)
        except Exception as error:  # the stream is not made yet, the broker is away, or forgot the consumer
            if not stopping.is_set():
                complain(f"NATS: {error!r}; again later")
                await asyncio.sleep(RETRY_SECONDS)
    await connection.drain()  # sends the last acknowledgements
    await ledger.close()


asyncio.run(main())
