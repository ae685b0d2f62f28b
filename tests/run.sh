#!/usr/bin/env bash
# Everything that must hold of the code: lint, format, types, tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./install.sh dev
export PATH="$PWD/.venv/bin:$PATH" MPLBACKEND=Agg
# One thread a worker: more would only wait for one another.
export OMP_NUM_THREADS=1
echo "ruff check"
ruff check .
echo "ruff format"
ruff format --check --quiet . || { ruff format --check . ; exit 1; }
echo "mypy"
mypy
echo "pytest"
python -m pytest -n "${TEST_WORKERS:-2}" --dist loadgroup "$@"
