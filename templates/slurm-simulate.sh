#!/usr/bin/env bash
# Geant4 showers from all cores of some nodes into one file: `sbatch templates/slurm-simulate.sh`.
#SBATCH --job-name=caloforge-simulate
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=48
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@60
set -euo pipefail

OUT=${OUT:-showers.h5}
SHOWERS=${SHOWERS:---detector clic-ecal --events 100000 --energy 10:500 --seed 1}

code=0
# shellcheck disable=SC2086 # showers are several words
srun --kill-on-bad-exit=1 caloforge simulate $SHOWERS -o "$OUT" || code=$?

# 130: stopped in time. What is finished is kept, and the same command goes on from there.
if [ "$code" = 130 ]; then
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
