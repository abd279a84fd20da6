#!/usr/bin/env bash
# Fact: a consumer with its ecosystem's own clients bills every committed order exactly once, though it, its
# database connection and the broker are killed under load, inside its transaction and between COMMIT and
# acknowledgement; with no more rights at the broker than the README prints.
#   inbox_test.sh POSTRIDER SOURCE_DIR EXAMPLE_FOLDER PROGRAM...
# Two processes of PROGRAM run at once, in EXAMPLE_FOLDER.
set -euo pipefail
postrider=$1 source_dir=$2 example=$3
shift 3
program=("$@")

folder=$(mktemp -d /tmp/postrider-inbox.XXXXXX)
chmod 711 "$folder" # PostgreSQL runs as another user when we are root
servers=$folder/servers
relay_pid= holder_pid= writer_pids=()
declare -A consumer_pid=()
clean_up() {
  status=$?
  trap - EXIT
  for pid in $relay_pid $holder_pid "${consumer_pid[@]}" "${writer_pids[@]}"; do
    kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
  done
  if [[ -e $servers/ports ]]; then
    [[ -e $servers/nats/nats.pid ]] && kill -CONT "$(<"$servers/nats/nats.pid")" 2>/dev/null || true
    "$postrider" dev down --delete --dir "$servers" >/dev/null || status=1
  fi
  if ((status != 0)); then tail -n 20 "$folder"/*.log >&2 || true; fi
  rm -rf "$folder"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
equal() { [[ $2 == "$3" ]] || fail "$1: '$2', expected '$3'"; }
# Runs a command until it succeeds, for at most that long.
succeeds_within() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    read -rt 0.05 <> <(:) || true
  done
}
wait_for() { succeeds_within 30 "$@" || fail "waited for: $*"; }

"$postrider" dev up --dir "$servers" >/dev/null
for target in "" --target; do
  "$postrider" migrate up $target --config "$servers/postrider.toml" >/dev/null
done
# shellcheck source=/dev/null
source "$servers/dev.env"
shop() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }
views() { shop -d views "$@"; }
owner() { shop -U owner "$@"; }

# The broker, with the users and permissions of the README.
nats_port=${NATS_URL##*:}
nats=${POSTRIDER_NATS_SERVER:-$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nats-server)}
nats_pid() { cat "$servers/nats/nats.pid"; }
request() { # SUBJECT -> JSON
  local line
  exec 3<>"/dev/tcp/127.0.0.1/$nats_port" || return 1
  printf 'CONNECT {"verbose":false,"user":"reader","pass":"change-me-5"}\r\nSUB _INBOX.t 1\r\nPUB %s _INBOX.t 0\r\n\r\n' "$1" >&3
  while IFS= read -rt 5 line <&3; do
    if [[ $line == MSG* ]]; then IFS= read -rt 5 line <&3 && printf '%s\n' "$line" && return; fi
  done
  return 1
}
answers() { (request '$JS.API.STREAM.INFO.SHOP') | grep -q '"type"'; }
start_nats() {
  "$nats" -c "$servers/nats/nats.conf" >>"$servers/nats/nats.log" 2>&1 &
  disown
  wait_for answers
}
kill "$(nats_pid)"
wait_for eval '! kill -0 "$(nats_pid)"'
awk '/^```text nats.conf$/ { on = 1 } /^```$/ { on = 0 } on && /^authorization/ { copy = 1 } on && copy' \
  "$source_dir/README.md" >>"$servers/nats/nats.conf"
(umask 077 && echo change-me-4 >"$folder/relay.password")
start_nats

POSTRIDER_NATS_USER=relay POSTRIDER_NATS_PASSWORD_FILE=$folder/relay.password POSTRIDER_NATS_INBOX_PREFIX=_INBOX.postrider \
  "$postrider" relay --config "$servers/postrider.toml" >"$folder/relay.log" 2>&1 &
relay_pid=$!

start_consumer() { # NAME
  (cd "$example" && NATS_USER=reader NATS_PASSWORD=change-me-5 PGDATABASE=views ACK_WAIT_SECONDS=2 \
    exec "${program[@]}" >>"$folder/consumer-$1.log" 2>&1) &
  consumer_pid[$1]=$!
}
kill_consumer() { # NAME
  kill -9 "${consumer_pid[$1]}" || fail "consumer $1 ended by itself"
  wait "${consumer_pid[$1]}" 2>/dev/null || true
}
views -f "$example/invoice.sql"
start_consumer a
start_consumer b

# Writers: transactions of 1 to 3 orders of one customer; some roll back, some to a savepoint.
shop -c "CREATE TABLE customer (name text PRIMARY KEY, orders bigint NOT NULL DEFAULT 0, cents bigint NOT NULL DEFAULT 0)" \
  -c "INSERT INTO customer SELECT 'c' || i FROM generate_series(1, 20) i"
seed=${POSTRIDER_SEED:-$RANDOM}
echo "seed $seed"
RANDOM=$seed
writer_script() { # SEED
  awk -v seed="$1" 'function order() {
      cents = 1 + int(rand() * 1000)
      printf "UPDATE customer SET orders = orders + 1, cents = cents + %d WHERE name = '\''c%d'\'';\n", cents, who
      printf "SELECT outbox.emit('\''order.%d.placed'\'', '\''{\"cents\": %d}'\'', key => '\''c%d'\'');\n", who, cents, who
    }
    BEGIN { srand(seed)
      for (i = 0; i < 200; i++) {
        who = 1 + int(rand() * 20)
        print "BEGIN;"
        for (n = int(rand() * 3); n >= 0; n--) order()
        dice = rand()
        if (dice < 0.15) { print "SAVEPOINT s;"; order(); print "ROLLBACK TO SAVEPOINT s;" }
        print (dice > 0.85 ? "ROLLBACK;" : "COMMIT;")
      } }'
}
for writer in 1 2 3 4; do
  writer_script $((seed + writer)) >"$folder/writer-$writer.sql"
  shop -f "$folder/writer-$writer.sql" 2>"$folder/writer-$writer.log" >/dev/null &
  writer_pids+=($!)
done

billed() { views -c "SELECT coalesce(sum(orders), 0) FROM invoice"; }
billed_reaches() { (($(billed) >= $1)); }

for name in a b a b; do
  wait_for billed_reaches $(($(billed) + 20 + RANDOM % 150))
  kill_consumer "$name"
  start_consumer "$name"
done

# Both are killed inside a transaction, which a lock holds up: what they had acknowledged by then would be lost.
both_held() {
  (($(views -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'billing'
                AND backend_type = 'client backend' AND cardinality(pg_blocking_pids(pid)) > 0") == 2))
}
coproc holder { PGDATABASE=views exec psql -XAtq -v ON_ERROR_STOP=1; }
holder_pid=$!
echo "BEGIN; LOCK TABLE invoice IN EXCLUSIVE MODE;" >&"${holder[1]}"
wait_for both_held
kill_consumer a
kill_consumer b
echo "ROLLBACK; \\q" >&"${holder[1]}"
wait "$holder_pid" || fail "the lock's holder"
holder_pid=
start_consumer a
start_consumer b

wait_for billed_reaches $(($(billed) + 20))
ended=$(views -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'billing'")
((ended > 0)) || fail "no consumer was connected to the database"

# From here until the broker is killed, what is committed cannot be acknowledged.
freeze() {
  kill -STOP "$(nats_pid)"
  local before
  before=$(billed)
  succeeds_within 2 billed_reaches $((before + 3)) && return
  kill -CONT "$(nats_pid)" # the consumers held nothing just then
  return 1
}
wait_for freeze
kill_consumer a
kill -9 "$(nats_pid)"
wait_for eval '! kill -0 "$(nats_pid)"'
start_nats
start_consumer a # b was not killed: it connects again

for pid in "${writer_pids[@]}"; do wait "$pid" || fail "a writer"; done
writer_pids=()
committed=$(owner -c "SELECT count(*) FROM outbox.events")
all_published() { request '$JS.API.STREAM.INFO.SHOP' | grep -q "\"messages\":$committed,"; }
wait_for eval '(all_published)'
all_acknowledged() {
  local info
  info=$(request '$JS.API.CONSUMER.INFO.SHOP.billing') && [[ $info == *'"num_ack_pending":0,'* && $info =~ '"num_pending":0'[,\}] ]]
}
wait_for eval '(all_acknowledged)'
for name in a b; do
  kill -TERM "${consumer_pid[$name]}" || fail "consumer $name ended by itself"
  wait "${consumer_pid[$name]}" || fail "consumer $name exits with $? on SIGTERM"
done
consumer_pid=()

again=$(cat "$folder"/consumer-?.log | grep -c '^already billed' || true)
echo "$committed orders committed, $(billed) billed, $again delivered again after their COMMIT"
totals() { echo "SELECT $1, orders, cents FROM $2 WHERE orders > 0 ORDER BY 1"; }
equal "billed, by customer" "$(views -c "$(totals customer invoice)")" "$(shop -c "$(totals name customer)")"
equal "claims" "$(owner -d views -c "SELECT count(*) FROM postrider.inbox WHERE consumer = 'billing'")" "$committed"
((again >= 3)) || fail "the inbox had nothing to do: $again"
