DROP FUNCTION outbox.backfill_start(text, text, text, boolean, int, int, boolean), outbox.backfill_decide(text, text, text),
  outbox.backfill_open(text, bigint), outbox.backfill_admit(bigint, bigint), outbox.backfill_plan(bigint, bigint), outbox.backfill_claim(bigint),
  outbox.backfill_carry(bigint, bigint), outbox.backfill_busy(bigint, bigint),
  outbox.backfill_moved(text, oid, jsonb), outbox.backfill_done(bigint),
  outbox.backfill_complete(bigint, bigint), outbox.backfill_note(bigint, text, boolean),
  outbox.backfill_find(text), outbox.backfill_bound(text, text, text[], text[]),
  outbox.backfill_pieces(oid, text[]), outbox.backfill_key(oid);
DROP TABLE outbox.backfill_chunk, outbox.backfill;
