# What backup.sh and restore.sh share: the volumes of deployment/docker-compose.yml, and of the replicas of deployment/stack.yaml,
# that hold what cannot be made again.
project=${COMPOSE_PROJECT_NAME:-deployment}
image=${SERVAL_IMAGE:-cats-dogs-classifier:latest}
volumes='logs|models|tracking|embedded-tracking|grafana-data|cats-dogs-classifier-state-[0-9]+|predictions-dumps' # extended regular expression

die() {
  echo "$1" >&2
  exit 1
}

volume_exists() { docker volume inspect "${project}_$1" >/dev/null 2>&1; }

docker version >/dev/null 2>&1 || die "There is no container engine, or this user may not use it."
docker image inspect "$image" >/dev/null 2>&1 ||
  die "There is no image $image on this machine. Build or pull it, or name the one that runs by SERVAL_IMAGE."
