#!/usr/bin/env bash
# Runs an image of the service and asks it: health check, /health, a prediction of test_image.jpg, and the smoke test from
# the inside. It has no right that it can do without. Wants only the engine and curl.
#   scripts/test_image.sh [IMAGE]
set -euo pipefail
cd "$(dirname "$0")/.."
image=${1:-cats-dogs-classifier:latest}

hardened=(--read-only --cap-drop ALL --security-opt no-new-privileges --memory 512m --pids-limit 256)
container=$(docker run --detach --publish 127.0.0.1::8000 "${hardened[@]}" --tmpfs /tmp --volume /app/logs "$image")
finish() {
  local status=$?
  [[ $status == 0 ]] || docker logs --tail 50 "$container"
  docker rm --force --volumes "$container" >/dev/null
}
trap finish EXIT

url=http://$(docker port "$container" 8000/tcp | head -n 1)
state=starting
for ((i = 0; i < 120; i++)); do
  state=$(docker inspect --format '{{.State.Status}} {{.State.Health.Status}}' "$container")
  [[ $state == "running starting" ]] || break
  sleep 0.5
done
echo "$image: $state after $((i / 2)) s"
[[ $state == "running healthy" ]]

curl --fail-with-body --silent --show-error "$url/health"
echo
curl --fail-with-body --silent --show-error --form file=@test_image.jpg "$url/predict"
echo
docker exec "$container" node dist/cli/main.js smoke http://127.0.0.1:8000
