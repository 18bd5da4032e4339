#!/bin/sh
# What the suite needs from Debian's packages: the broker that the product documents, and an auditor's hledger.
set -eu
PATH=$PATH:/usr/sbin
missing=
for package in mosquitto hledger; do
    command -v "$package" >/dev/null || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "make test needs Debian's packages$missing (as root: apt-get install$missing)." >&2
    exit 1
fi
apt-get update -qq
# shellcheck disable=SC2086 # a word a package
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
