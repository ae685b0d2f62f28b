#!/usr/bin/env bash
# Makes .venv with everything lit_nmt needs, in the versions of constraints.txt; does nothing where that is done.
# Usage: ./install.sh [EXTRA]     EXTRA: mtdata (more corpora), slurm, kubernetes (clusters), dev (tests, and all else)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
extra="${1:-}"
state="$(cat pyproject.toml constraints.txt | cksum) $PWD"
installed() { [ -f ".venv/installed-$1" ] && [ "$(cat ".venv/installed-$1")" = "$state" ]; }
any_installed() { for marker in .venv/installed-*; do if installed "${marker##*-}"; then return; fi; done; false; }

if installed "${extra:-plain}" || installed dev || { [ -z "$extra" ] && any_installed; }; then
    exit 0
fi

if ! .venv/bin/python -c "import sys, pip; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
    for python in python3.11 python3.12 python3.13 python3.14 python3; do
        if "$python" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
            echo "Making .venv with $("$python" --version)"
            "$python" -m venv --clear .venv
            break
        fi
    done
fi
if ! [ -x .venv/bin/python ]; then
    echo "install.sh: no Python 3.11 or later with venv was found; install one (Debian: python3 python3-venv)" >&2
    exit 2
fi

echo "Installing lit_nmt${extra:+ with its $extra tools} into .venv; at first this takes some minutes"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}" \
    --constraint constraints.txt
echo "$state" > ".venv/installed-${extra:-plain}"
