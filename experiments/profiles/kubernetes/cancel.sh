#!/usr/bin/env bash
# Ends Jobs.
# Usage: cancel.sh JOB...
exec kubectl delete --wait=false "$@"
