#!/usr/bin/env bash
# Commits what scripts/retrain.ts made to a new branch and opens a pull request with its report; a draft where the
# released model stays. Does nothing when nothing was due. Wants gh, logged in (GH_TOKEN), and a remote `origin`.
#   scripts/open_pull_request.sh BRANCH WEB_ADDRESS      such as retrain-42 https://github.com/OWNER/NAME
set -euo pipefail
[[ $# == 2 ]] || { echo "Usage: scripts/open_pull_request.sh BRANCH WEB_ADDRESS" >&2; exit 2; }
branch=$1 address=$2 folder=reports/retrain
[[ $address =~ ^https?://[A-Za-z0-9.:/_-]+$ ]] || { echo "$address is not the address of a repository." >&2; exit 2; }
[[ -f $folder/report.md ]] || { echo "Nothing was due, so there is nothing to propose."; exit 0; }

base=$(git branch --show-current)
model=$(node -p 'JSON.parse(fs.readFileSync("reports/retrain/verdict.json", "utf8")).model')
released=$(node -p 'JSON.parse(fs.readFileSync("reports/retrain/verdict.json", "utf8")).released')
git switch --create "$branch"
for path in dvc.lock downloads.lock.json models docs/accuracy.md "$folder"; do [[ ! -e $path ]] || git add "$path"; done
git -c user.name="retraining" -c user.email="retraining@users.noreply.github.com" commit --quiet --message "models: train $model again"
# The checkout keeps no token: git asks gh for it, for this one command.
git -c credential.helper= -c credential.helper='!gh auth git-credential' push --quiet origin "$branch"

# Paths of the branch do not work in a description: pictures need their whole address, which holds for this commit.
raw="$address/raw/$(git rev-parse HEAD)/$folder"
body=$(mktemp)
trap 'rm -f "$body"' EXIT
sed -E "s|\]\(([a-z-]+\.png)\)|](${raw}/\1)|" "$folder/report.md" > "$body"
title="$model, trained again: $([[ $released == true ]] && echo "as good as the released one or better" || echo "the released one stays")"
gh pr create --base "$base" --head "$branch" --title "$title" --body-file "$body" $([[ $released == true ]] || echo --draft)
