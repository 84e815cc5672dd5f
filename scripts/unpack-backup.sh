# Runs in a container that scripts/restore.sh starts: unpacks an archive of scripts/backup.sh into folders, one for each volume.
#   bash -s -- REPLACE DATABASES [FILES [ARCHIVE]] < scripts/unpack-backup.sh
# REPLACE: yes or no, whether what the folders hold may be removed. DATABASES: the folders `databases/NAME/` of the archive.
#
# An archive is not trusted. Before anything is replaced, these are refused: a path that leads out of the archive, a link that leads out of
# its own volume, what is neither file, folder nor link, and a program that runs as its owner.
set -euo pipefail
replace=$1 databases=$2 files=${3:-/files} archive=${4:-/archive}

refuse() {
  echo "$1 Do not trust this archive." >&2
  exit 1
}

# Of a folder: everything in it stays in there, whoever follows the links.
check_unpacked() {
  local odd link target
  odd=$(find "$1" ! -type f ! -type d ! -type l -print -quit)
  [[ -z $odd ]] || refuse "The archive holds ${odd#"$1"/}, which is neither a file, a folder nor a link."
  odd=$(find "$1" -type f -perm /6000 -print -quit)
  [[ -z $odd ]] || refuse "The archive holds ${odd#"$1"/}, a program that would run as its owner."
  while IFS= read -r -d '' link; do
    target=$(readlink -- "$link")
    [[ $target != /* && $(realpath -m -- "$(dirname -- "$link")/$target")/ == "$1"/* ]] ||
      refuse "The archive holds ${link#"$1"/}, a link to $target: expected one that stays in its volume."
  done < <(find "$1" -type l -print0)
}

outside=$(tar --list --gzip --file "$archive" 2>/dev/null | grep --max-count 1 -E '^/|(^|/)\.\.(/|$)' || true)
[[ -z $outside ]] || refuse "The archive holds the path $outside, which leads out of it."

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
  [[ -d $whole && ! -L $whole ]] || refuse "The archive holds files/$volume, which is not a folder."
  check_unpacked "$whole"
  # Over the files the databases as they were at one moment; the folders keep their owners. This run of tar could follow the links
  # of the first one, which stay in the volume.
  if grep --quiet "^databases/$volume/" <<<"$databases"; then
    unpack --no-overwrite-dir "databases/$volume"
    check_unpacked "$whole"
  fi
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
