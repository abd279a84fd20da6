#!/usr/bin/env bash
# Runs the README's section "Your own PostgreSQL and NATS", block by block, against servers that
# `postrider dev` did not start: TLS with verification on both sides, the roles and permissions as
# printed, and then what those must refuse.
#   own_servers_test.sh POSTRIDER SOURCE_DIR
set -euo pipefail
postrider=$1
source_dir=$2
folder=$(mktemp -d /tmp/postrider-own.XXXXXX)
chmod 711 "$folder"
postgres_pid= nats_pid=

clean_up() {
  status=$?
  trap - EXIT
  if [[ -n $nats_pid ]]; then kill "$nats_pid" && wait "$nats_pid" || true; fi
  if [[ -n $postgres_pid ]]; then kill -INT "$postgres_pid" && wait "$postgres_pid" || true; fi
  if ((status != 0)); then tail -n 30 "$folder"/*.log >&2 || true; fi
  rm -rf "$folder"
  exit "$status"
}
trap clean_up EXIT

# shellcheck source=tests/integration/nkeys.sh
source "$source_dir/tests/integration/nkeys.sh"

say() { printf '== %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}
# A fenced block of the README, by the name after its language.
block() {
  awk -v name="$1" '$0 ~ "^```[a-z]+ " name "$" { on = 1; found = 1; next } /^```$/ { on = 0 } on
                    END { exit !found }' "$source_dir/README.md" || fail "README.md has no block $1"
}
# Below the range from which dev/ports.cc serves the tests beside this one.
free_port() {
  local port
  while port=$(shuf -i 14000-14999 -n 1); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
  done
}
# Runs a command until it succeeds; fails after 30 s.
wait_for() {
  local deadline=$((SECONDS + 30))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "waited for: $*"
    read -rt 0.1 <> <(:) || true
  done
}
# Runs a command, wants that exit code and that text in its output.
expect() { # CODE TEXT COMMAND...
  local want=$1 text=$2 code=0
  shift 2
  "$@" >"$folder/out.log" 2>&1 || code=$?
  [[ $code == "$want" ]] || { cat "$folder/out.log" >&2 && fail "exit $code, not $want: $*"; }
  grep -q -- "$text" "$folder/out.log" || { cat "$folder/out.log" >&2 && fail "no '$text' from $*"; }
}

say "certificates"
authority() { # NAME
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$folder/$1.key" -out "$folder/$1.pem" 2>/dev/null
}
certificate() { # HOST
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$folder/$1.key" -out "$folder/$1.csr" 2>/dev/null
  printf 'subjectAltName=DNS:%s\n' "$1" >"$folder/$1.ext"
  openssl x509 -req -in "$folder/$1.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 2 \
    -extfile "$folder/$1.ext" -out "$folder/$1.pem" 2>/dev/null
}
authority ca
authority stranger
certificate db.example.com
certificate nats.example.com

say "PostgreSQL of our own"
programs=${POSTRIDER_PG_BINDIR:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
as_server=()
if ((EUID == 0)); then as_server=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
export PGPORT
PGPORT=$(free_port)
mkdir "$folder/socket" "$folder/data"
mkdir "$folder/tls" && cp "$folder/db.example.com.key" "$folder/db.example.com.pem" "$folder/tls/"
chmod 600 "$folder/tls/db.example.com.key"
if ((EUID == 0)); then chown -R postgres: "$folder/socket" "$folder/data" "$folder/tls"; fi
"${as_server[@]}" "$programs/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 \
  --locale=C.UTF-8 --no-sync >"$folder/initdb.log" 2>&1
{
  block postgresql.conf
  echo "port = $PGPORT"
  echo "listen_addresses = '127.0.0.1'"
  echo "unix_socket_directories = '$folder/socket'"
  echo "ssl = on"
  echo "ssl_cert_file = '$folder/tls/db.example.com.pem'"
  echo "ssl_key_file = '$folder/tls/db.example.com.key'"
} >>"$folder/data/postgresql.conf"
{
  echo "local all postgres trust"
  block pg_hba.conf
} >"$folder/data/pg_hba.conf"
"${as_server[@]}" "$programs/postgres" -D "$folder/data" >"$folder/postgres.log" 2>&1 &
postgres_pid=$!
admin() { env -u PGHOSTADDR psql -qAtX -v ON_ERROR_STOP=1 -h "$folder/socket" -U postgres "$@"; }
wait_for admin -d postgres -c 'SELECT 1'
admin -d postgres -c 'CREATE DATABASE shop'
block roles | admin -d shop

say "nats-server of our own"
nats_port=$(free_port)
nats=${POSTRIDER_NATS_SERVER:-$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nats-server)}
start_nats() { # CONFIGURATION
  "$nats" -c "$1" >>"$folder/nats.log" 2>&1 &
  nats_pid=$!
  wait_for bash -c "exec 3<>/dev/tcp/127.0.0.1/$nats_port"
}
{
  echo "listen: \"127.0.0.1:$nats_port\""
  block nats.conf | sed -e "s#/var/lib/nats#$folder/store#" \
    -e "s#/etc/nats/server#$folder/nats.example.com#g"
} >"$folder/nats.conf"
start_nats "$folder/nats.conf"

say "Postrider, as the README configures it"
block postrider.toml | sed "s#/etc/postrider#$folder#g" >"$folder/postrider.toml"
(umask 077 && echo change-me-4 >"$folder/relay.password" && echo change-me-5 >"$folder/reader.password" &&
  printf '*:*:*:%s:%s\n' owner change-me-1 relay change-me-2 app change-me-3 >"$folder/pgpass")
export PGPASSFILE=$folder/pgpass PGHOSTADDR=127.0.0.1
# The names in the certificates are not in any name service here.
export POSTRIDER_NATS_URL=tls://127.0.0.1:$nats_port POSTRIDER_NATS_TLS_HOSTNAME=nats.example.com
app() {
  psql -qAtX -v ON_ERROR_STOP=1 \
    "host=db.example.com dbname=shop user=app sslmode=verify-full sslrootcert=$folder/ca.pem" "$@"
}
say "a forgotten password has its remedy"
expect 75 "PGPASSFILE" env PGPASSFILE="$folder/none" "$postrider" migrate up --config "$folder/postrider.toml"
expect 1 "PGPASSFILE" env PGPASSFILE="$folder/none" "$postrider" check --config "$folder/postrider.toml"
mapfile -t commands < <(block run | sed "s#/etc/postrider#$folder#g")
[[ ${#commands[@]} == 3 ]] || fail "the README's last block has ${#commands[@]} commands, not 3"
for command in "${commands[@]}"; do
  read -ra words <<<"$command"
  words[0]=$postrider
  if [[ ${words[1]} == relay ]]; then words+=(--until-caught-up); fi
  say "$command"
  "${words[@]}"
done

say "events come through"
for i in 1 2 3; do app -c "SELECT outbox.emit('order.$i.placed', '{\"i\": $i}')" >/dev/null; done
"$postrider" relay --until-caught-up --config "$folder/postrider.toml" 2>>"$folder/relay.log"
as_reader() {
  POSTRIDER_NATS_USER=reader POSTRIDER_NATS_PASSWORD_FILE=$folder/reader.password POSTRIDER_NATS_INBOX_PREFIX=_INBOX "$@"
}
as_reader "$postrider" tail --from start --until-end --json --config "$folder/postrider.toml" >"$folder/events"
[[ $(wc -l <"$folder/events") == 3 ]] || fail "3 events expected: $(cat "$folder/events")"
grep -q '"subject":"shop.order.3.placed"' "$folder/events" || fail "order 3 is missing"

say "what the roles may not"
expect 1 "permission denied" app -c "INSERT INTO outbox.events (subject) VALUES ('x')"
expect 1 "permission denied" app -c "SELECT * FROM outbox.events"
expect 1 "permission denied" app -c "SELECT pg_logical_emit_message(true, 'postrider', 'x')"
expect 1 "permission denied" app -c "SELECT outbox.relay_open('shop')"
[[ $(admin -d shop -c "SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname IN ('owner', 'relay', 'app')") == 0 ]]

say "what the broker's permissions refuse, and the relay says so"
app -c "SELECT outbox.emit('order.4.placed', '{}')" >/dev/null
expect 1 "FAIL NATS permissions" as_reader "$postrider" check --config "$folder/postrider.toml"
expect 35 "no_permission" as_reader "$postrider" relay --until-caught-up --config "$folder/postrider.toml"
expect 0 "stopped after 1 events" "$postrider" relay --until-caught-up --config "$folder/postrider.toml"

say "certificates of strangers"
sed "s#tls_ca = .*#tls_ca = \"$folder/stranger.pem\"#" "$folder/postrider.toml" >"$folder/strange-nats.toml"
sed "s#sslrootcert=$folder/ca.pem#sslrootcert=$folder/stranger.pem#" "$folder/postrider.toml" >"$folder/strange-pg.toml"
expect 1 "NATS" "$postrider" check --config "$folder/strange-nats.toml"
expect 1 "certificate verify failed" "$postrider" check --config "$folder/strange-pg.toml"
POSTRIDER_NATS_TLS_HOSTNAME=other.example.com expect 1 "NATS" "$postrider" check --config "$folder/postrider.toml"
chmod 644 "$folder/relay.password"
expect 78 "others may read" "$postrider" check --config "$folder/postrider.toml"
chmod 600 "$folder/relay.password"

say "a broker that does not let the relay announce"
kill "$nats_pid" && wait "$nats_pid" || true
nats_pid=
sed 's#"POSTRIDER.covered.shop", ##' "$folder/nats.conf" >"$folder/silent.conf"
start_nats "$folder/silent.conf"
expect 1 "FAIL relay.announce" "$postrider" check --config "$folder/postrider.toml"
POSTRIDER_RELAY_ANNOUNCE=false expect 0 "may publish on shop.postrider.check" "$postrider" check --config "$folder/postrider.toml"

say "an nkey instead of a password"
kill "$nats_pid" && wait "$nats_pid" || true
nats_pid=
nkeys_make "$folder/relay" user
sed "s#user: \"relay\", password: \"change-me-4\"#nkey: \"$(cat "$folder/relay.nk.pub")\"#" "$folder/nats.conf" >"$folder/nkey.conf"
start_nats "$folder/nkey.conf"
sed -e "s#^user = \"relay\"#nkey_seed = \"$folder/relay.nk\"#" -e '/^password_file/d' "$folder/postrider.toml" >"$folder/nkey.toml"
app -c "SELECT outbox.emit('order.5.placed', '{}')" >/dev/null
expect 0 "stopped after 1 events" "$postrider" relay --until-caught-up --config "$folder/nkey.toml"

say "a credentials file, with a server in operator mode"
kill "$nats_pid" && wait "$nats_pid" || true
nats_pid=
for name in operator account system; do nkeys_make "$folder/$name" "${name/system/account}"; done
nkeys_make "$folder/member" user
limits='"limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1'
public() { cat "$folder/$1.nk.pub"; }
account_jwt() { # NAME FURTHER_LIMITS
  nkeys_jwt "$folder/operator" "$(public "$1")" "\"name\":\"$1\",\"nats\":{$limits$2},\"type\":\"account\",\"version\":2}"
}
{
  echo "listen: \"127.0.0.1:$nats_port\""
  block nats.conf | sed -n -e "s#/var/lib/nats#$folder/store-jwt#" -e "s#/etc/nats/server#$folder/nats.example.com#g" -e '/^authorization/q' -e p
  echo "operator: $(nkeys_jwt "$folder/operator" "$(public operator)" '"name":"operator","nats":{"type":"operator","version":2}')"
  echo "system_account: $(public system)"
  echo "resolver: MEMORY"
  echo "resolver_preload: {"
  echo "  $(public account): $(account_jwt account ',"mem_storage":-1,"disk_storage":-1,"streams":-1,"consumer":-1')"
  echo "  $(public system): $(account_jwt system '')"
  echo "}"
} >"$folder/jwt.conf"
# The user's JWT carries the permissions that the README prints for the relay.
(umask 077 && {
  echo "-----BEGIN NATS USER JWT-----"
  nkeys_jwt "$folder/account" "$(public member)" '"name":"relay","nats":{"pub":{"allow":["shop.>","POSTRIDER.covered.shop","$JS.API.STREAM.INFO.SHOP","$JS.API.STREAM.CREATE.SHOP","$JS.API.STREAM.MSG.GET.SHOP"]},"sub":{"allow":["_INBOX.postrider.>"]},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2}'
  printf '\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n'
  cat "$folder/member.nk"
  printf '\n------END USER NKEY SEED------\n'
} >"$folder/relay.creds")
start_nats "$folder/jwt.conf"
sed -e "s#^user = \"relay\"#creds = \"$folder/relay.creds\"#" -e '/^password_file/d' "$folder/postrider.toml" >"$folder/creds.toml"
# An empty broker: nothing was confirmed yet, so everything is published again.
expect 0 "stopped after 5 events" "$postrider" relay --until-caught-up --config "$folder/creds.toml"

say "all good"
