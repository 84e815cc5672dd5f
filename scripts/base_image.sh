#!/usr/bin/env bash
# Prints the base image that CI builds on, with its digest: .github/base-images/Dockerfile has one line for each.
#   docker build --build-arg NODE_IMAGE="$(scripts/base_image.sh node)" -t cats-dogs-classifier:latest .
set -euo pipefail
[[ ${1:-} =~ ^(node|python)$ ]] || { echo "Usage: scripts/base_image.sh node | python" >&2; exit 2; }
cd "$(dirname "$0")/.."
grep --max-count 1 " AS $1\$" .github/base-images/Dockerfile | cut -d ' ' -f 2
