#!/usr/bin/env bash
# Puts a backup of scripts/backup.sh back into the volumes of deployment/docker-compose.yml or stack.yaml, on this machine or another.
#   scripts/restore.sh ARCHIVE              into volumes that are not there, or empty
#   scripts/restore.sh --replace ARCHIVE    in place of what they hold
#   --any-name                              also files whose names are a danger elsewhere: in folders of tools (.git, .dvc, .serval),
#                                           called as a device of Windows (aux.json), with backslashes or control characters
# Stop what uses them first (docker compose stop; docker service scale STACK_cats-dogs-classifier=0 STACK_predictions=0). What a volume holds is removed only after the whole archive was checked and
# unpacked: an archive is not trusted (`serval check-backup` says what is refused).
#   COMPOSE_PROJECT_NAME, SERVAL_IMAGE: as for backup.sh
set -euo pipefail
replace=no names=safe
archives=()
for argument in "$@"; do
  case $argument in
    --replace) replace=yes ;;
    --any-name) names=any ;;
    *) archives+=("$argument") ;;
  esac
done
archive=${archives[0]:-}
[[ ${#archives[@]} == 1 && $archive != -* ]] || { echo "Usage: scripts/restore.sh [--replace] [--any-name] ARCHIVE" >&2; exit 2; }
[[ -f $archive ]] || { echo "There is no file $archive." >&2; exit 2; }
archive=$(cd "$(dirname "$archive")" && pwd)/$(basename "$archive")
cd "$(dirname "$0")/.."
. scripts/volumes.sh

listed=$(tar --list --gzip --file "$archive" 2>&1) || die "$archive is damaged or no backup: $(grep --max-count 1 -E '^(gzip|tar):' <<<"$listed"). Nothing was changed."
mounts=()
for volume in $(sed -nE "s#^files/($volumes)/.*#\1#p" <<<"$listed" | sort --unique); do
  users=$(docker ps --filter "volume=${project}_$volume" --format '{{.Names}}' | tr '\n' ' ')
  [[ -z $users ]] || die "${project}_$volume is in use by ${users}: stop it first. Nothing was changed."
  mounts+=(--volume "${project}_$volume:/files/$volume")
  # With the labels that Compose looks for, so that it takes the volume for its own.
  volume_exists "$volume" || docker volume create --label "com.docker.compose.project=$project" \
    --label "com.docker.compose.volume=$volume" "${project}_$volume" >/dev/null
done
[[ ${#mounts[@]} -gt 0 ]] || die "$archive holds none of these volumes: $volumes. Nothing was changed."

# The database begins with the dump where its own volume is empty.
data=
if grep --quiet '^files/predictions-dumps/' <<<"$listed" && volume_exists predictions-data; then
  data=${project}_predictions-data
  users=$(docker ps --filter "volume=$data" --format '{{.Names}}' | tr '\n' ' ')
  [[ -z $users ]] || die "$data is in use by ${users}: stop it first. Nothing was changed."
  in_data() { docker run --rm --user 0 --network none --entrypoint bash --volume "$data:/data" "$image" -c "$1"; }
  [[ $replace == yes ]] || in_data '[[ -z $(ls -A /data) ]]' ||
    die "The volume $data is not empty. Look at what the database holds; --replace removes it. Nothing was changed."
fi

docker run --rm --interactive --user 0 --network none --entrypoint bash "${mounts[@]}" --volume "$archive:/archive:ro" \
  "$image" -s -- "$replace" "$names" "$(grep --only-matching '^databases/[^/]*/' <<<"$listed" | sort --unique)" \
  <scripts/unpack-backup.sh || die "Nothing was restored: see above."
[[ -z $data ]] || in_data 'find /data -mindepth 1 -delete' || die "The volume $data could not be emptied: see above. Remove it, and the database begins with the dump."
echo "Restored to the project $project from $archive."
