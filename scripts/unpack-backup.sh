# Runs in a container that scripts/restore.sh starts: unpacks an archive of scripts/backup.sh into folders, one for each volume.
#   bash -s -- REPLACE NAMES DATABASES [FILES [ARCHIVE [PROGRAM]]] < scripts/unpack-backup.sh
# REPLACE: yes or no, whether what the folders hold may be removed. NAMES: any or safe, see --any-name of restore.sh. DATABASES: the
# folders `databases/NAME/` of the archive. PROGRAM: the command line of Serval.
#
# An archive is not trusted. Before anything of it is unpacked, `serval check-backup` has looked at all of it.
set -euo pipefail
replace=$1 names=$2 databases=$3 files=${4:-/files} archive=${5:-/archive} program=${6:-/app/dist/cli/main.js}

options=()
if [[ $names == any ]]; then options+=(--any-name); fi
node "$program" check-backup "${options[@]}" "$archive" >/dev/null || exit 1

trap 'rm -rf "$files"/*/.restored' EXIT
rm -rf "$files"/*/.restored
for folder in "$files"/*; do
  if [[ $replace == no && -n $(ls -A "$folder") ]]; then
    echo "The volume ${folder##*/} is not empty. Look at what it holds; --replace removes it." >&2
    exit 1
  fi
done
for folder in "$files"/*; do
  volume=${folder##*/}
  whole=$folder/.restored/$volume
  mkdir "$folder/.restored"
  unpack() { tar --extract --gzip --file "$archive" --directory "$folder/.restored" --strip-components 1 "$@"; }
  unpack "files/$volume"
  # Over the files the databases as they were at one moment; the folders keep their owners.
  if grep --quiet "^databases/$volume/" <<<"$databases"; then unpack --no-overwrite-dir "databases/$volume"; fi
done
sync
for folder in "$files"/*; do
  whole=$folder/.restored/${folder##*/}
  find "$folder" -mindepth 1 -maxdepth 1 ! -name .restored -exec rm -rf {} +
  find "$whole" -mindepth 1 -maxdepth 1 -exec mv --target-directory "$folder" {} +
  # A volume that was made just now belongs to root.
  chown --reference "$whole" "$folder"
  chmod --reference "$whole" "$folder"
done
rm -rf "$files"/*/.restored
sync
