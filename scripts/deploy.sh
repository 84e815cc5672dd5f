#!/usr/bin/env bash
# Replaces the running prediction service by another version, and takes the old one back when the new one does not work.
#   scripts/deploy.sh IMAGE              pull, start, wait until healthy, smoke test; roll back when one of them fails
#   scripts/deploy.sh --no-pull IMAGE    the same with an image that this machine has
#   scripts/deploy.sh --undo             back to the version that passed last
# Ends with 0 when IMAGE serves; 1 when it does not and the version before serves; 2 when the command line or the machine
# is not ready for it; 3 when no version serves. Until the new image is here the old version is not touched.
#
# The version that passed last is kept as a tag in the engine, and moves only after the smoke test. So a deploy that was
# killed half way is finished by running it again, or undone with --undo.
#   DEPLOY_WAIT        seconds that a version has to become healthy (60)
#   SERVAL_PUBLISH     port on this machine (8000)
#   GRAFANA_ADMIN_PASSWORD and the rest: deployment/.env or the environment
set -uo pipefail
cd "$(dirname "$0")/../deployment" || exit 2

service=cats-dogs-classifier
wait=${DEPLOY_WAIT:-60}
good="serval-deploy/${COMPOSE_PROJECT_NAME:-deployment}:last-good"

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
die() { # EXIT_CODE MESSAGE
  say "$2" >&2
  exit "$1"
}

if docker compose version >/dev/null 2>&1; then
  compose() { docker compose "$@"; }
else
  compose() { docker-compose "$@"; }
fi

id_of() { docker image inspect --format '{{.Id}}' "$1" 2>/dev/null; }
# The container that serves, as it is now: compose is too slow to be asked at every look.
find_container() { container=$(compose ps --quiet "$service" 2>/dev/null | head -n 1); }
inspect() { docker inspect --format "$1" "$container" 2>/dev/null; }

start() { # IMAGE
  SERVAL_IMAGE=$1 compose up --detach --no-build --no-deps "$service" || return 1
  find_container
}

# Fails as soon as the container has ended or was restarted, and does not wait for the rest of the time then.
wait_until_healthy() {
  local deadline=$((SECONDS + wait)) state
  while ((SECONDS <= deadline)); do
    state=$(inspect '{{.State.Status}} {{.RestartCount}} {{if .State.Health}}{{.State.Health.Status}}{{end}}')
    case $state in
    "running 0 healthy") return 0 ;;
    "running 0 starting" | "created 0 "*) sleep 0.5 ;;
    *)
      say "The container is not healthy: ${state:-gone}."
      return 1
      ;;
    esac
  done
  say "Not healthy after $wait s."
  return 1
}

address() {
  local port
  port=$(inspect '{{(index (index .NetworkSettings.Ports "8000/tcp") 0).HostPort}}') || return 1
  echo "http://127.0.0.1:$port"
}

smoke() { ../scripts/smoke_test.sh "$(address)" --wait 5; }

# Starts an image and makes sure that it, and no other, answers rightly.
bring_up() { # IMAGE IMAGE_ID
  local started=$SECONDS
  start "$1" || return 1
  wait_until_healthy || { compose logs --tail 20 "$service"; return 1; }
  [[ $(inspect '{{.Image}}') == "$2" ]] || { say "Another image runs than the one that was started."; return 1; }
  say "Healthy after $((SECONDS - started)) s."
  smoke
}

roll_back() { # WHY
  local started=$SECONDS id
  id=$(id_of "$good") || {
    compose rm --stop --force "$service" >/dev/null 2>&1
    die 3 "$1 No version passed here before, so none serves now."
  }
  say "$1 Back to the version that passed last."
  bring_up "$good" "$id" || die 3 "The version before does not work any more either: no version serves. Look at: docker logs"
  say "The version before serves again after $((SECONDS - started)) s."
}

pull=yes
case "${1:-}" in
--no-pull) pull=no; shift ;;
esac
[[ $# == 1 && -n $1 ]] || die 2 "Usage: scripts/deploy.sh [--no-pull] IMAGE | --undo"
image=$1
docker version >/dev/null 2>&1 || die 2 "There is no container engine, or this user may not use it."
compose config --quiet || die 2 "deployment/docker-compose.yml is not complete: see deployment/.env.example."

# One deploy at a time. The lock goes with the process, so a killed one leaves none behind.
exec 9<docker-compose.yml
flock --nonblock 9 || die 2 "Another deploy is running."
trap 'die 130 "Stopped half way. Run it again to finish, or scripts/deploy.sh --undo."' INT TERM

find_container
if [[ $image == --undo ]]; then
  id_of "$good" >/dev/null || die 2 "No version passed here before."
  roll_back "Undo."
  exit 0
fi

if [[ $pull == yes ]]; then
  docker pull "$image" || die 1 "$image cannot be pulled. Nothing was changed: $(inspect '{{.Config.Image}} goes on serving.' || echo "no version is running.")"
fi
id=$(id_of "$image") || die 2 "There is no image $image on this machine."

running=$(inspect '{{.Image}}')
if ! id_of "$good" >/dev/null && [[ -n $running ]]; then
  say "The running version was not deployed with this script: testing it first."
  if smoke; then docker tag "$running" "$good"; else say "It does not work, so there is nothing to go back to."; fi
fi
[[ -z $running || $running == "$(id_of "$good")" ]] || say "The running version never passed: a deploy was cut short."

say "Deploying $image, ${id:7:12}; running: $([[ -n $running ]] && echo "${running:7:12}" || echo nothing)."
if bring_up "$image" "$id"; then
  # Also the name that docker-compose.yml uses by itself, so that `docker compose up` by hand stays with this version.
  docker tag "$image" "$good" && docker tag "$image" "$service:latest" || die 1 "$image serves, but could not be noted as good."
  say "$image serves, after $SECONDS s in all."
else
  roll_back "$image does not work."
  exit 1
fi
