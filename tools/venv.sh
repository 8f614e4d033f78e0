#!/usr/bin/env bash
# Make a virtual environment with plait and some of its extras: tools/venv.sh FOLDER EXTRAS [PACKAGE ...]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1 extras=$2
shift 2

fail() {
    printf 'plait: %s\n' "$@" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or later was found." "Install one, or say where it is: make PYTHON=/path/to/python3.11 ..."
}

if [ ! -x "$folder/bin/python" ]; then
    python=$(find_python)
    echo "plait: making the virtual environment $folder with $python"
    "$python" -m venv "$folder" || {
        rm -rf "$folder"
        fail "the module venv of $python does not work." "On Debian and Ubuntu: apt install python3-venv"
    }
fi
echo "plait: installing plait[$extras] $*"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]" "$@" || fail \
    "the packages could not be installed (see above)." \
    "Needed: network access to a package index, or one configured in pip, and about 1 GB of disk."
