#!/usr/bin/env bash
# Installs everything that Serval needs, Node 24 included; the commands run from anywhere.
set -euo pipefail
cd "$(dirname "$0")/.."
# One package has to run an install script: `node` fetches Node 24, and npm has no hash in package-lock.json to compare that with.
# Where this machine has Node 24, no package runs anything.
has_node() { # one that is not in node_modules, which npm ci empties
  [[ $(command -v node) != "$PWD"/node_modules/* ]] && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 24 || (a == 24 && b >= 12) ? 0 : 1)'
}
if has_node; then npm ci --ignore-scripts; else npm ci; fi
npm run serval -- --help
