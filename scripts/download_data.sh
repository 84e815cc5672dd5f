#!/usr/bin/env bash
# Brings the photographs of cats and dogs into data/raw: the public download, or a source of your own as the argument.
#   scripts/download_data.sh                       Microsoft's kagglecatsanddogs_5340.zip, about 800 MB
#   scripts/download_data.sh PATH/TO/photographs.zip          a zip of your own
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
  npm run serval -- data import --preset cats-dogs
else
  npm run serval -- data import "$@"
fi
