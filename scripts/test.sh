#!/usr/bin/env bash
# Runs all tests: those that count containers, processes and files of the machine one after the other, all others beside them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Processes that tests start need not compile everything again.
unset PYTHONDONTWRITEBYTECODE

others=(
    tests/agents tests/benchmarks tests/core tests/docs tests/examples tests/graphs/teams tests/memory tests/search tests/tracing
    tests/verifiers tests/web
)
report=$(mktemp)
.venv/bin/python -m pytest -p no:cacheprovider --durations=10 "${others[@]}" >"$report" 2>&1 </dev/null &
beside=$!
trap 'kill "$beside" 2>/dev/null || true; rm -f "$report"' EXIT

status=0
.venv/bin/python -m pytest --durations=25 "${others[@]/#/--ignore=}" || status=$?
wait "$beside" || status=$?
cat "$report"
exit "$status"
