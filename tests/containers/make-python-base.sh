#!/usr/bin/env bash
# Where no registry can be reached: a stand-in for the base image of deployment/mlflow/Dockerfile, Debian's Python on the
# debian:bookworm-slim that is there. Pip then fetches the packages as it does anywhere.
set -euo pipefail
cd "$(dirname "$0")/../.."
base=$(sed -n 's/^ARG PYTHON_IMAGE=//p' deployment/mlflow/Dockerfile)
docker image inspect "$base" >/dev/null 2>&1 || docker build --quiet --tag "$base" - <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-pip \
  && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
CMD ["python3"]
DOCKERFILE
