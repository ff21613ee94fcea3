#!/usr/bin/env bash
# Train on GPU nodes, one worker a GPU: `sbatch templates/slurm-gpu.sh`.
#SBATCH --job-name=caloforge-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
set -euo pipefail

DATA=${DATA:-showers.h5}
RUN=${RUN:-run}
SETTINGS=${SETTINGS:---set device=cuda --set epochs=25}

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
code=0
# shellcheck disable=SC2086 # settings are several words
srun --kill-on-bad-exit=1 --cpus-per-task="$OMP_NUM_THREADS" \
    caloforge train --data "$DATA" -o "$RUN" $SETTINGS || code=$?

# 130: stopped in time, with a checkpoint; the job continues by itself when its turn comes again.
if [ "$code" = 130 ]; then
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
