#!/usr/bin/env bash
# train-or-resume.sh RUN COMMAND...: train into the folder RUN, or continue where an earlier start stopped.
# For batch systems that do not tell a job that it was started before (SLURM and torchrun do).
set -euo pipefail

run=$1
shift
resume=()
if [ -d "$run/checkpoints" ]; then
    resume=(--resume)
fi
exec caloforge "$@" -o "$run" "${resume[@]}"
