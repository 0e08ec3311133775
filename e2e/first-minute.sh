#!/usr/bin/env bash
# The first minute with Tidegate: `serve` without arguments, then the three curl lines it prints, as a reader pastes them.
# The first shows an admission, the second a 429, the third what is left.
set -euo pipefail
binary=${1:-target/release/tidegate}
out=$(mktemp)
"$binary" serve >"$out" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$out"' EXIT

for _ in $(seq 100); do
  [ "$(grep -c '^ *curl ' "$out")" -ge 3 ] && break
  kill -0 "$server" 2>/dev/null || { cat "$out"; echo "the server ended" >&2; exit 1; }
  sleep 0.1
done
mapfile -t lines < <(grep '^ *curl ' "$out")
[ "${#lines[@]}" -eq 3 ] || { cat "$out"; echo "expected three curl lines" >&2; exit 1; }

expect() { # expect PATTERN COMMAND: runs the line and looks for the pattern in what it prints
  echo "\$ $2"
  answer=$(bash -c "$2" 2>&1)
  echo "$answer"
  grep -qE "$1" <<<"$answer" || { echo "expected $1" >&2; exit 1; }
}
expect 'HTTP/1.1 200|"allowed":true'         "${lines[0]}"
expect 'HTTP/1.1 429|Rate limit exceeded'    "${lines[1]}"
expect '"remaining":'                        "${lines[2]}"

kill -TERM "$server"
wait "$server"
trap - EXIT
rm -f "$out"
echo "1 passed, 0 failed"
