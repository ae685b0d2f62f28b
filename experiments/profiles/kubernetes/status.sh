#!/usr/bin/env bash
# Tells of a Job, as `submit.sh` prints its name, whether it is running, success or failed.
# Usage: status.sh JOB
set -euo pipefail
conditions='there {.status.conditions[?(@.status=="True")].type} .'
# Without an answer nothing is known to have changed; a Job that is gone has failed.
told="$(kubectl get "$1" --ignore-not-found --output=jsonpath="$conditions")" || { echo running; exit; }
case "$told" in
    *" Complete "*) echo success ;;
    *" Failed "*|"") echo failed ;;
    *) echo running ;;
esac
