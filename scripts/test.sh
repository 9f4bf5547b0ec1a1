#!/usr/bin/env bash
# Runs all tests, those that use no engine beside all others, which count containers, processes and files of the machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pure=(tests/core tests/memory tests/search)
report=$(mktemp)
.venv/bin/python -m pytest -p no:cacheprovider "${pure[@]}" >"$report" 2>&1 </dev/null &
beside=$!
trap 'kill "$beside" 2>/dev/null || true; rm -f "$report"' EXIT

status=0
.venv/bin/python -m pytest "${pure[@]/#/--ignore=}" || status=$?
wait "$beside" || status=$?
cat "$report"
exit "$status"
