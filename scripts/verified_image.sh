#!/usr/bin/env bash
# Pulls an image and prints its name with its digest, once GitHub's attestation for that digest is verified: that ci.yml of the
# repository made it from the branch main, on a machine of GitHub. Ends with 1, and prints no name, when that does not hold.
#   scripts/verified_image.sh IMAGE:TAG OWNER/REPOSITORY [COMMIT]     such as docker.io/me/cats-dogs-classifier:latest me/serval
# With COMMIT the image must be made from that one. Wants the engine and gh, both logged in (docker login, GH_TOKEN).
set -euo pipefail
usage() {
  echo "Usage: scripts/verified_image.sh IMAGE:TAG OWNER/REPOSITORY [COMMIT]" >&2
  exit 2
}
[[ $# == 2 || $# == 3 ]] || usage
image=$1 repository=$2 commit=${3:-}
[[ $image =~ ^([a-z0-9][a-zA-Z0-9./:_-]*)/cats-dogs-classifier:[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] || usage
[[ $repository =~ ^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$ ]] || usage
[[ $commit =~ ^([0-9a-f]{40})?$ ]] || usage
name=${image%:*}

# What was pulled is what will run, so the engine says which digest that is. A second question to the registry could get another answer.
pulled=$(docker pull "$image")
echo "$pulled" >&2
digest=$(sed -n 's/^Digest: //p' <<<"$pulled")
[[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "The engine named no digest when it pulled $image." >&2; exit 1; }

gh attestation verify "oci://$name@$digest" --repo "$repository" --signer-workflow "$repository/.github/workflows/ci.yml" \
  --source-ref refs/heads/main ${commit:+--source-digest "$commit"} --deny-self-hosted-runners >&2
echo "$name@$digest"
