#!/usr/bin/env bash
# Asks a running service whether it works; ends with 1 when it does not.
#   scripts/smoke_test.sh [URL] [--wait SECONDS] [--image FILE] [--max-latency MS] [--json]
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -d node_modules ]; then
  echo "smoke_test.sh: nothing is installed in $PWD. Run \`npm ci\` there first: it brings the packages and the right Node." >&2
  exit 1
fi
version=$(PATH="$PWD/node_modules/.bin:$PATH" node -p process.versions.node 2>/dev/null || echo 0)
if [ "$(printf '%s\n' 24.12.0 "$version" | sort -V | head -n 1)" != 24.12.0 ]; then
  echo "smoke_test.sh: got Node $version, expected 24.12 or newer. Run \`npm ci\` in $PWD, which brings it, or install it." >&2
  exit 1
fi
if [ $# -eq 0 ] || [[ $1 == -* ]]; then set -- http://127.0.0.1:8000 "$@"; fi
npm run --silent serval -- smoke "$@"
