#!/usr/bin/env bash
# Installs everything that Serval needs, Node 24 included; the commands run from anywhere.
set -euo pipefail
cd "$(dirname "$0")/.."
npm ci
npm run serval -- --help
