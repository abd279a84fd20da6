// Bills every order exactly once: claim, effect and COMMIT in one transaction, and only then the
// acknowledgement. Killed at any moment, started again, run several times at once: the invoices are
// right. Stops on SIGTERM and SIGINT.
//
//   NATS_URL, NATS_USER, NATS_PASSWORD   the broker; the last two may be absent
//   POSTRIDER_STREAM                     the stream to read
//   PGHOST, PGDATABASE, ...              the database that has the schema postrider
//   ACK_WAIT_SECONDS                     after which an unacknowledged message comes again (30)
import { setTimeout as delay } from "node:timers/promises";
import { connect, nanos } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import pg from "pg";

const CONSUMER = "billing";
const BATCH_MESSAGES = 50; // in flight in this process
const MAX_ACK_PENDING = 200; // in flight in all processes together
const RETRY_MS = 1000;
const stream = process.env.POSTRIDER_STREAM;
const ackWaitMs = Number(process.env.ACK_WAIT_SECONDS ?? 30) * 1000;

// A claim waits for another transaction that is claiming the same event: a bound for each way of hanging.
const pool = new pg.Pool({
  application_name: CONSUMER,
  max: 1,
  connectionTimeoutMillis: 5000,
  lock_timeout: 5000,
  statement_timeout: 10000,
  idle_in_transaction_session_timeout: 10000,
});
// The pool reports a connection that breaks while idle, the client one that breaks between two statements; both
// would end the process unheard. The pool connects again.
const broken = (error) => console.error(`database: ${error.message}`);
pool.on("error", broken);
pool.on("connect", (client) => client.on("error", broken));

// Whether the event was billed now, and not by an earlier delivery. After a COMMIT that failed or was never
// answered nobody knows: it throws, the message comes again, and the claim tells.
async function bill(message) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const claim = await client.query("SELECT postrider.inbox_claim($1, $2) AS first", [
      CONSUMER,
      message.headers?.get("Postrider-Id"),
    ]);
    const { first } = claim.rows[0];
    if (first) {
      await client.query(
        `INSERT INTO invoice VALUES ($1, 1, $2) ON CONFLICT (customer)
         DO UPDATE SET orders = invoice.orders + 1, cents = invoice.cents + excluded.cents`,
        [message.headers.get("Postrider-Key"), message.json().cents],
      );
    }
    await client.query("COMMIT");
    client.release();
    return first;
  } catch (error) {
    client.release(true); // closes the connection: PostgreSQL rolls back, claim included
    throw error;
  }
}

async function handle(message) {
  try {
    if (!(await bill(message))) {
      console.log(`already billed: ${message.headers.get("Postrider-Id")}`);
    }
    message.ack();
  } catch (error) {
    console.error(`${message.subject}, stream sequence ${message.seq}: ${error.message}; again later`);
    message.nak(RETRY_MS);
  }
}

let stopping = false;
let connection;
let messages;
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    stopping = true;
    if (!connection) process.exit(0); // nothing is in flight yet
    messages?.stop();
  });
}

connection = await connect({
  servers: process.env.NATS_URL,
  user: process.env.NATS_USER,
  pass: process.env.NATS_PASSWORD,
  name: CONSUMER,
  waitOnFirstConnect: true,
  maxReconnectAttempts: -1,
});
const withoutProbe = { checkAPI: false }; // the probe would need a right on $JS.API.INFO
const manager = await jetstreamManager(connection, withoutProbe);

while (!stopping) {
  try {
    // Leaves an existing one alone. By its name too: the broker's permissions are on $JS.API.CONSUMER.CREATE.
    await manager.consumers.add(stream, {
      name: CONSUMER,
      durable_name: CONSUMER,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(ackWaitMs),
      max_ack_pending: MAX_ACK_PENDING,
      deliver_policy: DeliverPolicy.All,
    });
    const consumer = await jetstream(connection, withoutProbe).consumers.get(stream, CONSUMER);
    while (!stopping) {
      messages = await consumer.fetch({ max_messages: BATCH_MESSAGES, expires: 1000 });
      for await (const message of messages) {
        if (stopping) break; // comes again after ack_wait, here or elsewhere
        await handle(message);
      }
    }
  } catch (error) {
    // The stream is not made yet, the broker is away, or it has forgotten the consumer.
    if (!stopping) {
      console.error(`NATS: ${error.message}; again later`);
      await delay(RETRY_MS);
    }
  }
}
await connection.drain(); // sends the last acknowledgements
await pool.end();
