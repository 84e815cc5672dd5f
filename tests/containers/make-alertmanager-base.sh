#!/usr/bin/env bash
# Where no registry can be reached: a stand-in for the image of Alertmanager that deployment/docker-compose.yml names, with
# Debian's Alertmanager on the debian:bookworm-slim that is there. It has the files and the user of the official image.
set -euo pipefail
cd "$(dirname "$0")/../.."
image=$(sed -n 's/^ *image: \(prom\/alertmanager:.*\)$/\1/p' deployment/docker-compose.yml)
docker image inspect "$image" >/dev/null 2>&1 || docker build --quiet --tag "$image" - <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update -qq && cd /tmp && apt-get download -qq prometheus-alertmanager && dpkg-deb --extract prometheus-alertmanager_*.deb x \
    && mv x/usr/bin/prometheus-alertmanager /bin/alertmanager && mv x/usr/bin/amtool /bin/amtool \
    && mkdir -p /usr/share/prometheus && mv x/usr/share/prometheus/alertmanager /usr/share/prometheus/ && rm -rf /tmp/* /var/lib/apt/lists/* \
    && mkdir -p /alertmanager /etc/alertmanager && chown 65534:65534 /alertmanager && alertmanager --version 2>&1 | grep -q 'version 0[.]25'
USER 65534:65534
WORKDIR /alertmanager
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
DOCKERFILE
