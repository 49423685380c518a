#!/bin/sh
# Makes a virtual environment in the folder given, with the newest Python that potnode is tested
# on, or with the one that the variable PYTHON names. Says what is missing when it cannot.
set -eu

target=$1
candidates=${PYTHON:-python3.13 python3.12 python3.11 python3 python}
without_venv=

for python in $candidates; do
    # Running it, not just finding it: version managers leave names that lead nowhere.
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        without_venv="$without_venv $python"
        continue
    fi
    echo "Making $target with $("$python" --version 2>&1)"
    if ! "$python" -m venv "$target"; then
        rm -rf "$target"
        echo "error: $python could not make the virtual environment $target" >&2
        exit 1
    fi
    exit 0
done

if [ -n "$without_venv" ]; then
    echo "error: found$without_venv, but without the modules venv and ensurepip." >&2
    echo "       On Debian and Ubuntu: apt-get install python3-venv" >&2
else
    echo "error: Python 3.11 or newer is needed; looked for: $candidates" >&2
    echo "       Install it, or name it: make PYTHON=/path/to/python3 ..." >&2
fi
exit 1
