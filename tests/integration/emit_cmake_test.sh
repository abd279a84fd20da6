#!/usr/bin/env bash
# Fact: a CMake project outside of ours builds against the installed package, and its event is committed or
# rolled back together with its row.
#   emit_cmake_test.sh SOURCE_FOLDER BUILD_FOLDER CXX_COMPILER CXX_FLAGS
set -euo pipefail
source_folder=$1 build=$2 compiler=$3 flags=$4

folder=$(mktemp -d /tmp/postrider-package.XXXXXX)
chmod 711 "$folder" # PostgreSQL runs as another user when we are root
prefix=$folder/prefix
clean_up() {
  status=$?
  trap - EXIT
  if [[ -e $folder/servers/ports ]]; then
    "$build/daemon/postrider" dev down --delete --dir "$folder/servers" >/dev/null || status=1
  fi
  rm -rf "$folder"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
equal() { [[ $2 == "$3" ]] || fail "$1: '$2', expected '$3'"; }

cmake --install "$build" --prefix "$prefix" >"$folder/install.log" || { cat "$folder/install.log"; fail "install"; }
# Nothing but the library, the executable and the SQL.
stray=$(cd "$prefix" && find . -type f | grep -Ev \
  -e '^\./bin/postrider$' -e '^\./include/postrider/[a-z_]+\.h$' -e '/libpostrider_[a-z_]+\.a$' \
  -e '/cmake/Postrider/Postrider[A-Za-z-]+\.cmake$' -e '^\./share/postrider/migrations/(service|readmodel)/[0-9]{4}_[a-z_]+\.(up|down)\.sql$' || true)
equal "installed beside what is meant to be" "$stray" ""
equal "SQL files installed" "$(ls "$prefix/share/postrider/migrations/service" | tr '\n' ' ')" \
  "$(ls "$source_folder/migrations/service" | tr '\n' ' ')"

# A copy, so that nothing of our tree can be found by a relative path.
cp -r "$source_folder/examples/emit-cmake" "$folder/project"
cmake -G Ninja -S "$folder/project" -B "$folder/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_CXX_FLAGS="$flags" >"$folder/project.log"
cmake --build "$folder/build" >>"$folder/project.log" || { cat "$folder/project.log"; fail "the project does not build"; }

postrider=$prefix/bin/postrider
"$postrider" dev up --dir "$folder/servers" >/dev/null
"$postrider" migrate up --config "$folder/servers/postrider.toml" >/dev/null
# shellcheck source=/dev/null
source "$folder/servers/dev.env"

id=$("$folder/build/place_order" "alice \"O'Neil\"" 1250)
if "$folder/build/place_order" bob 0 2>/dev/null; then fail "an order of nothing was accepted"; fi

query() { psql -U owner -XAtc "$1"; }
equal "rows" "$(psql -XAtc "SELECT customer, cents, event_id FROM placed_order")" "alice \"O'Neil\"|1250|$id"
equal "events" "$(query "SELECT id, subject, key, type, payload FROM outbox.events")" \
  "$id|order.placed|alice \"O'Neil\"|OrderPlaced|{\"cents\": 1250}"
echo "row and event $id are there; those rolled back are not"
