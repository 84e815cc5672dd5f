#!/usr/bin/env bash
# Where no registry can be reached: a stand-in for the image of HAProxy that deployment/docker-compose.yml names, with
# the HAProxy 3.0 of Debian 13 on the debian:bookworm-slim that is there. It starts as the official image does.
set -euo pipefail
cd "$(dirname "$0")/../.."
image=$(sed -n 's/^ *image: \(haproxy:.*\)$/\1/p' deployment/docker-compose.yml)
docker image inspect "$image" >/dev/null 2>&1 || docker build --quiet --tag "$image" - <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN sed -i s/bookworm/trixie/ /etc/apt/sources.list.d/* \
    && apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/* && haproxy -v | grep -q 'version 3[.]0'
USER haproxy
STOPSIGNAL SIGUSR1
ENTRYPOINT ["haproxy"]
CMD ["-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
DOCKERFILE
