#!/bin/sh
# The suite talks to the broker that the product documents. It comes from Debian's packages.
set -eu
if [ "$(id -u)" != 0 ]; then
    echo "make test needs the MQTT broker: install Debian's package 'mosquitto' (as root: apt-get install mosquitto)." >&2
    exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto >/dev/null
