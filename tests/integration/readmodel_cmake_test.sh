#!/usr/bin/env bash
# Fact: a CMake project outside of ours keeps a read model with a C++ handler through the installed package, and
# kill -9 at any moment neither doubles nor loses an order.
#   readmodel_cmake_test.sh SOURCE_FOLDER BUILD_FOLDER CXX_COMPILER CXX_FLAGS
set -euo pipefail
source_folder=$1 build=$2 compiler=$3 flags=$4

folder=$(mktemp -d /tmp/postrider-package.XXXXXX)
chmod 711 "$folder" # PostgreSQL runs as another user when we are root
prefix=$folder/prefix
postrider=$build/daemon/postrider
relay= keeper=
clean_up() {
  status=$?
  trap - EXIT
  for pid in $relay $keeper; do
    kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
  done
  if [[ -e $folder/servers/ports ]]; then
    "$postrider" dev down --delete --dir "$folder/servers" >/dev/null || status=1
  fi
  rm -rf "$folder"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
fail() { printf 'FAILED: %s\n' "$*" >&2; cat "$folder"/*.log >&2; exit 1; }

cmake --install "$build" --prefix "$prefix" >"$folder/install.log" || fail "install"
# A copy, so that nothing of our tree can be found by a relative path.
cp -r "$source_folder/examples/readmodel-cmake" "$folder/project"
cmake -G Ninja -S "$folder/project" -B "$folder/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_CXX_FLAGS="$flags" >"$folder/project.log" 2>&1 || fail "the project is not configured"
cmake --build "$folder/build" >>"$folder/project.log" 2>&1 || fail "the project does not build"

"$postrider" dev up --dir "$folder/servers" >/dev/null
config=$folder/servers/postrider.toml
"$postrider" migrate up --config "$config" >/dev/null
"$postrider" migrate up --target --config "$config" >/dev/null
# shellcheck source=/dev/null
source "$folder/servers/dev.env"
psql -U postgres -d views -Xqc "GRANT CREATE ON SCHEMA public TO applier"
"$postrider" relay --config "$config" >"$folder/relay.log" 2>&1 &
relay=$!

target="host=$PGHOST port=$PGPORT user=applier dbname=views"
orders() { psql -U applier -d views -XAtc "SELECT coalesce(sum(orders), 0) FROM customer_total" 2>/dev/null || echo 0; }
sent=0
for round in 1 2 3 4; do
  "$folder/build/keep_totals" shop "$target" >>"$folder/keeper.log" 2>&1 &
  keeper=$!
  for _ in 1 2 3 4 5 6 7 8; do
    psql -Xqc "SELECT count(outbox.emit('order.placed', jsonb_build_object('cents', g), 'c' || g % 7, 'OrderPlaced')) FROM generate_series(1, 250) g" >/dev/null
    sent=$((sent + 250))
  done
  # In the middle of it: something is applied, and not all.
  deadline=$((SECONDS + 60))
  until (($(orders) > sent - 2000)); do ((SECONDS < deadline)) || fail "nothing is applied in round $round"; done
  kill -9 "$keeper"
  wait "$keeper" 2>/dev/null || true
done
keeper=
"$postrider" relay --config "$config" --until-caught-up >>"$folder/relay.log" 2>&1 & # stands by
standby=$!
kill "$relay" && wait "$relay" || fail "the relay does not drain"
relay=$standby
wait "$standby" || fail "the relay does not catch up"
relay=
"$folder/build/keep_totals" shop "$target" --until-caught-up >>"$folder/keeper.log" 2>&1 || fail "the last run"

found=$(psql -U applier -d views -XAtc "SELECT sum(orders) || ' ' || sum(cents) FROM customer_total")
expected="$sent $((sent / 250 * 250 * 251 / 2))"
[[ $found == "$expected" ]] || fail "the read model has '$found', expected '$expected'"
echo "$found: every order once, over four kills"
