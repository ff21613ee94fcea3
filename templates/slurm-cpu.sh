#!/usr/bin/env bash
# Train on CPU nodes: `sbatch templates/slurm-cpu.sh`. Each node runs several workers, bound to its NUMA domains.
#SBATCH --job-name=caloforge-train
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
set -euo pipefail

DATA=${DATA:-showers.h5}
RUN=${RUN:-run}
WORKERS=${WORKERS:-4}
SETTINGS=${SETTINGS:---set epochs=25}

code=0
# shellcheck disable=SC2086 # settings are several words
srun --kill-on-bad-exit=1 --cpu-bind=none \
    caloforge launch --workers-per-node "$WORKERS" train --data "$DATA" -o "$RUN" $SETTINGS || code=$?

# 130: two minutes before the end of its time all workers got SIGTERM and wrote a checkpoint. The job goes
# back into the queue, and continues by itself when its turn comes.
if [ "$code" = 130 ]; then
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
