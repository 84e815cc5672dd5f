#!/usr/bin/env bash
# Asks a running service whether it works; ends with 1 when it does not.
#   scripts/smoke_test.sh [URL] [--wait SECONDS] [--image FILE] [--max-latency MS] [--json]
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ] || [[ $1 == -* ]]; then set -- http://127.0.0.1:8000 "$@"; fi
npm run --silent serval -- smoke "$@"
