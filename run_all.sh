#!/usr/bin/env bash
# Runs a study from its corpus to its report, and goes on where an earlier call stopped.
# Usage: ./run_all.sh [--dry-run] [--profile PROFILE] [STUDY]
#   STUDY     a name in experiments/studies (default: full) or a path to a study's YAML
#   PROFILE   local (default), slurm or kubernetes (see experiments/profiles), or a path to a Snakemake profile
set -euo pipefail
from="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")"

fail() { echo "run_all.sh: $1" >&2; exit 2; }
usage() { sed -n '2,5s/^# //p' "${BASH_SOURCE[0]##*/}"; }

study="" profile="local" dry_run=""
while [ $# -gt 0 ]; do
    case "$1" in
        -h|--help) usage; exit 0 ;;
        -n|--dry-run) dry_run=yes ;;
        --profile) [ $# -ge 2 ] || fail "--profile needs a name"; profile="$2"; shift ;;
        --profile=*) profile="${1#*=}" ;;
        -*) fail "unknown option $1; see ./run_all.sh --help" ;;
        *) [ -z "$study" ] || fail "one study at a time; found $study and $1"; study="$1" ;;
    esac
    shift
done
study="${study:-full}"
# A path is meant from where the user stands.
case "$study" in *.yaml|*.yml) [ -f "$study" ] || { [ -f "$from/$study" ] && study="$from/$study"; } ;; esac
if [ -d "experiments/profiles/$profile" ]; then profile="experiments/profiles/$profile"
elif [ -d "$from/$profile" ]; then profile="$from/$profile"; fi
[ -d "$profile" ] || fail "no profile \"$profile\"; known are $(cd experiments/profiles && ls -d */ | tr -d '/' | paste -sd' ')"

executor="$(sed -n 's/^executor: *//p' "$profile"/config*.yaml 2>/dev/null)" \
    || fail "no config.yaml in the profile $profile; experiments/profiles has some to copy"
case "$executor" in
    slurm) ./install.sh slurm ;;
    cluster-generic) ./install.sh kubernetes ;;
    *) ./install.sh ;;
esac
export PATH="$PWD/.venv/bin:$PATH" PYTHONUNBUFFERED=1 MPLBACKEND=Agg

# What is started here ends with this shell, however that ends.
export LIT_NMT_LEADER="$$@$(uname -n)"

# The plan, and at once the check of everything the study names: a mistake ends here, in one line.
lit-nmt status "$study"

workflow=(python -m snakemake --snakefile experiments/Snakefile --profile "$profile")
# Here no more jobs side by side than there are GPUs for; elsewhere that is the executor's to see to.
[ -n "$executor" ] || workflow+=(--resources "gpu=$(python -m lit_nmt.devices)")
workflow+=(--config "study=$study")
if [ -n "$dry_run" ]; then
    plan="$("${workflow[@]}" dry_run=yes --dry-run --quiet host rules reason 2>&1)" || { echo "$plan" >&2; exit 1; }
    # Snakemake's table of jobs, which it prints twice
    jobs="$(awk '/^Job stats/ { tables++ } tables == 1 && $2 ~ /^[0-9]+$/ && $1 !~ /^(all|total)$/ {
        printf "%s%s x %s", (some++ ? ", " : ""), $2, $1 }' <<<"$plan")"
    echo "Would run now: ${jobs:-nothing, everything is there}"
    exit 0
fi
# One at a time. The lock is this shell's alone, so it ends with it.
mkdir -p .snakemake
exec 9>.snakemake/run_all.lock
! command -v flock >/dev/null || flock --nonblock 9 \
    || fail "another ./run_all.sh is at work in $PWD; wait for it, or stop it and call again"

stopped="" status=0
trap 'stopped=yes' INT # Ctrl-C goes to all that was started; here it is left to say how to go on
"${workflow[@]}" 9>&- 2>&1 | python -m lit_nmt.progress "$study" 9>&- || status=$?
if [ "$status" != 0 ]; then
    echo "run_all.sh: ${stopped:+stopped, }not done; ./run_all.sh $(printf %q "$study") goes on from here" >&2
    [ -z "$stopped" ] || status=130
    exit "$status"
fi
python 9>&- -c '
import sys
from lit_nmt.studies import load_study
print("Report:", load_study(sys.argv[1]).report_folder / "index.html")' "$study"
