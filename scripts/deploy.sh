#!/usr/bin/env bash
# Replaces the running prediction service by another version, and takes the old one back when the new one does not work:
# `serval deploy` for this repository's own compose file. --help lists the options and the exit codes.
#   scripts/deploy.sh [--no-pull] IMAGE | --undo
#   DEPLOY_WAIT        seconds that a version has to become ready (60)
#   SERVAL_PUBLISH     port on this machine (8000)
#   GRAFANA_ADMIN_PASSWORD and the rest: deployment/.env or the environment
set -euo pipefail
cd "$(dirname "$0")/.."
exec npm run --silent serval -- deploy --target compose --wait "${DEPLOY_WAIT:-60}" "$@"
