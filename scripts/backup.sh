#!/usr/bin/env bash
# Copies what the services of deployment/docker-compose.yml or stack.yaml keep on this host into one archive, while they keep running.
#   scripts/backup.sh [FOLDER]      writes FOLDER/serval-YYYYMMDD-HHMMSS.tar.gz (FOLDER: deployment/backups) and prints its path
# In it: predictions and feedback (also those in the PostgreSQL of the stack, where it runs on this host), models, the runs and models of MLflow and of the embedded tracking server, Grafana's settings.
# Not in it: request logs, the metrics of Prometheus, deployment/.env and deployment/keys.
#
# Each SQLite database is copied as it was at one moment (VACUUM INTO); whatever was acknowledged before that is in it. The
# files come after the databases, so no run in the archive lacks files that it had. MLflow waits with its writes meanwhile.
# The archive gets its name when it is whole, checked and on the disk. Ends with 1, and leaves none, when anything fails.
#   COMPOSE_PROJECT_NAME   the project, or the name of the stack (deployment)
#   SERVAL_IMAGE           image of the service, which does the work (cats-dogs-classifier:latest)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/volumes.sh

folder=${1:-deployment/backups}
mkdir -p "$folder" || die "The folder $folder cannot be made."
folder=$(cd "$folder" && pwd)
name=serval-$(date -u +%Y%m%d-%H%M%S).tar.gz

# PostgreSQL writes what it has at one moment into a volume that is packed with the others.
for database in $(docker ps --quiet --filter "label=com.docker.swarm.service.name=${project}_predictions"); do
  docker exec --user 0 "$database" bash -euc 'cd /dumps
    pg_dump --username "$POSTGRES_USER" --format custom --file partial "$POSTGRES_DB" && chmod 644 partial && sync partial && mv partial predictions.dump' ||
    die "PostgreSQL could not write its dump: see above. No backup was written, and the services were not disturbed."
done

mounts=()
for volume in $(docker volume ls --format '{{.Name}}' | sed -nE "s/^${project}_($volumes)$/\1/p"); do
  mounts+=(--volume "${project}_$volume:/files/$volume")
done
[[ ${#mounts[@]} -gt 0 ]] || die "The engine has no volume of the project $project. Is COMPOSE_PROJECT_NAME right?"

# As root, because each volume has its own owner; what it leaves in FOLDER belongs to the caller.
docker run --rm --interactive --user 0 --network none --entrypoint bash "${mounts[@]}" --volume "$folder:/to" \
  "$image" -euo pipefail -s -- "$name" "$(id -u):$(id -g)" <<'INSIDE' || die "No backup was written to $folder: see above. The services were not disturbed."
name=$1 owner=$2
work=/to/.$name.partial
# Of a backup that was killed.
rm -rf /to/.serval-*.partial
# The archive holds predictions and Grafana's users: it is for the caller alone, from its first byte on.
mkdir --mode 700 "$work"
trap 'rm -rf "$work"' EXIT

node --disable-warning=ExperimentalWarning --input-type=module - "$work" <<'PROGRAM'
import { chownSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, readSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const work = process.argv[2];
const leftOut = [];
for (const entry of readdirSync("/files", { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  if (/^\/files\/(logs|cats-dogs-classifier-state-\d+)\/[^/]*\.log(\.|$)/.test(path)) leftOut.push(path);
  if (!entry.isFile() || !isDatabase(path)) continue;
  const copy = join(work, "databases", path.slice("/files/".length));
  mkdirSync(dirname(copy), { recursive: true });
  const started = performance.now();
  const db = new DatabaseSync(path, { timeout: 60_000 });
  try {
    db.prepare("VACUUM INTO ?").run(copy);
  } catch (error) {
    stop(`${path.slice("/files/".length)} cannot be copied: ${error.message}.`);
  } finally {
    db.close();
  }
  check(copy, path);
  const { uid, gid } = statSync(path);
  chownSync(copy, uid, gid);
  leftOut.push(...["", "-wal", "-shm", "-journal"].map((suffix) => path + suffix));
  console.error(`${path.slice("/files/".length)}: ${statSync(copy).size} bytes in ${Math.round(performance.now() - started)} ms`);
}
mkdirSync(join(work, "databases"), { recursive: true });
writeFileSync(join(work, "left-out"), leftOut.map((path) => `${path.slice(1)}\n`).join(""));

function isDatabase(path) {
  const magic = Buffer.alloc(16);
  let file;
  try {
    file = openSync(path, "r");
    readSync(file, magic);
  } catch {
    return false; // Gone meanwhile, as temporary files go.
  } finally {
    if (file !== undefined) closeSync(file);
  }
  return magic.toString("latin1") === "SQLite format 3\0";
}

function check(copy, path) {
  const db = new DatabaseSync(copy, { readOnly: true });
  const [{ integrity_check: verdict }] = db.prepare("PRAGMA integrity_check").all();
  db.close();
  if (verdict !== "ok") stop(`${path.slice("/files/".length)} is damaged: ${verdict}.`);
}

function stop(message) {
  console.error(message);
  process.exit(1);
}
PROGRAM

# 1: a file changed or went while it was read. Stores give files their names when they are complete, so an incomplete file belongs to nothing.
tar --create --gzip --file "$work/archive" --warning=no-file-changed --warning=no-file-removed --anchored --no-wildcards \
  --exclude-from "$work/left-out" --directory "$work" databases --directory / files || [[ $? == 1 ]]
tar --list --gzip --file "$work/archive" > /dev/null
# Trainings name artifacts as they like.
if ! node /app/dist/cli/main.js check-backup "$work/archive" > /dev/null; then
  echo "The archive is whole, but scripts/restore.sh will refuse it, unless with --any-name for the sake of a name. Rename or remove what is named above." >&2
fi
chmod 600 "$work/archive"
chown "$owner" "$work/archive"
sync "$work/archive"
mv --no-target-directory "$work/archive" "/to/$name"
sync /to
INSIDE

echo "$folder/$name"
