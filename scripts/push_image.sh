#!/usr/bin/env bash
# Publishes the built image as NAME/cats-dogs-classifier with the tags latest, the branch and the commit.
#   DOCKER_USERNAME=NAME scripts/push_image.sh BRANCH COMMIT
# DOCKER_REGISTRY names another registry than Docker Hub, such as 127.0.0.1:5000. Log in first: docker login.
set -euo pipefail
[[ $# == 2 ]] || { echo "Usage: DOCKER_USERNAME=NAME scripts/push_image.sh BRANCH COMMIT" >&2; exit 2; }
name="${DOCKER_REGISTRY:+$DOCKER_REGISTRY/}${DOCKER_USERNAME:?the account that publishes the image}/cats-dogs-classifier"
# A branch may hold characters that a tag may not.
for tag in latest "${1//[^A-Za-z0-9_.-]/-}" "$2"; do
  docker tag cats-dogs-classifier:latest "$name:$tag"
  docker push "$name:$tag"
done
