#!/bin/sh
# Starts TorchServe in the foreground with the archives of a folder. Ctrl-C or SIGTERM ends all its processes.
#
#   MODEL_STORE     the folder of archives (default: /models)
#   MODELS          the models to load, as in --models: "fcn=fcn.mar unet=unet.mar" (default: all archives)
#   RUN_DIR         the folder for keys, logs, unpacked models (default: the working directory)
#   TS_CONFIG_FILE  config.properties (default: the one beside this script)
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
store=${MODEL_STORE:-/models}
config=${TS_CONFIG_FILE:-$here/config.properties}

fail() {
    echo "entrypoint.sh: $1" >&2
    exit 2
}

[ -d "$store" ] || fail "there is no folder $store: mount one, or set MODEL_STORE"
[ -f "$config" ] || fail "there is no file $config"
set -- "$store"/*.mar
[ -f "$1" ] || fail "no archive (.mar) is in $store: segplug export torchserve ... --output-folder $store"
if [ -z "${MODELS:-}" ]; then
    # Not "all": TorchServe would also take every folder there for a model.
    MODELS=
    for archive; do
        name=$(basename -- "$archive" .mar)
        MODELS="$MODELS $name=$name.mar"
    done
fi
store=$(cd -- "$store" && pwd)
config=$(cd -- "$(dirname -- "$config")" && pwd)/$(basename -- "$config")
export TS_CONFIG_FILE="$config"

cd -- "${RUN_DIR:-.}"
umask 077 # only the server's user may read the keys
mkdir -p tmp logs
# The server's own folders, so that --stop below ends this server and no other.
export TEMP="$PWD/tmp" TMPDIR="$PWD/tmp" LOG_LOCATION="$PWD/logs" METRICS_LOCATION="$PWD/logs"
rm -f tmp/.model_server.pid key_file.json

# MODELS holds several words.
# shellcheck disable=SC2086
torchserve --start --foreground --ncs --ts-config "$config" --model-store "$store" --models $MODELS &
server=$!

# The launcher does not pass signals on: Java and the workers would go on.
trap 'torchserve --stop >/dev/null || true' INT TERM
status=0
while kill -0 "$server" 2>/dev/null; do
    # A signal interrupts the wait: then wait again.
    wait "$server" && status=0 || status=$?
done
exit "$status"
