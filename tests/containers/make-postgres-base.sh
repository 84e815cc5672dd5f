#!/usr/bin/env bash
# Where no registry can be reached: a stand-in for the image of PostgreSQL that deployment/stack.yaml names, with Debian's
# PostgreSQL 15 on the debian:bookworm-slim that is there. It makes its database as the official image does.
set -euo pipefail
cd "$(dirname "$0")/../.."
image=$(sed -n 's/^ *image: \(postgres:.*\)$/\1/p' deployment/stack.yaml)
docker image inspect "$image" >/dev/null 2>&1 && exit
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/start" <<'START'
#!/usr/bin/env bash
set -Eeuo pipefail
if [[ ! -s $PGDATA/PG_VERSION ]]; then
  initdb --username "$POSTGRES_USER" --pwfile "$POSTGRES_PASSWORD_FILE" --auth-local trust --auth-host scram-sha-256 >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait --options "-c listen_addresses=''" start >/dev/null
  createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
  for script in /docker-entrypoint-initdb.d/*.sh; do [[ ! -e $script ]] || . "$script"; done
  pg_ctl --wait --mode fast stop >/dev/null
fi
exec postgres -c listen_addresses='*'
START
cat >"$folder/Dockerfile" <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid postgres postgres \
  && mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf \
  && apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/* \
  && install --directory --owner postgres --group postgres --mode 3777 /var/run/postgresql \
  && mkdir -p /var/lib/postgresql/data /docker-entrypoint-initdb.d && chown 999:999 /var/lib/postgresql/data && chmod 700 /var/lib/postgresql/data
COPY --chmod=755 start /usr/local/bin/start
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["start"]
DOCKERFILE
docker build --quiet --tag "$image" "$folder"
