#!/usr/bin/env bash
# Makes a Kubernetes Job of a script in this folder and prints its name.
# Usage: submit.sh CORES MEMORY_MB GPUS MINUTES SCRIPT
set -euo pipefail
[ $# = 5 ] || { echo "submit.sh: found $# arguments, expected CORES MEMORY_MB GPUS MINUTES SCRIPT" >&2; exit 2; }
for name in LIT_NMT_IMAGE LIT_NMT_CLAIM LIT_NMT_MOUNT; do
    [ -n "${!name:-}" ] || { echo "submit.sh: $name is not set; see experiments/profiles/README.md" >&2; exit 2; }
done
limits="memory: ${2}M"
[ "$3" = 0 ] || limits+=", nvidia.com/gpu: $3"
kubectl create --output=name --filename=- <<YAML
apiVersion: batch/v1
kind: Job
metadata:
  generateName: lit-nmt-
  labels: {app: lit-nmt}
spec:
  backoffLimit: 0
  activeDeadlineSeconds: $(($4 * 60))
  ttlSecondsAfterFinished: 86400
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: job
          image: "$LIT_NMT_IMAGE"
          command: [bash, "$5"]
          workingDir: "$PWD"
          resources:
            requests: {cpu: $1, memory: ${2}M}
            limits: {$limits}
          volumeMounts:
            - {name: checkout, mountPath: "$LIT_NMT_MOUNT"}
            - {name: shared-memory, mountPath: /dev/shm}
      volumes:
        - {name: checkout, persistentVolumeClaim: {claimName: "$LIT_NMT_CLAIM"}}
        - {name: shared-memory, emptyDir: {medium: Memory}}
YAML
