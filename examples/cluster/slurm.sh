#!/usr/bin/env bash
# Trains on two nodes, four tasks with a GPU each: sbatch examples/cluster/slurm.sh examples/mcnn.yaml
#SBATCH --job-name=mm-keras
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --output=%x-%j.log
# Kills the job when a task fails: the others would stop by themselves, within a minute.
set -euo pipefail

config="${1:?usage: sbatch slurm.sh CONFIG.yaml}"
# Tasks of one node listen on this port and those after it; another job may be on the node.
export MM_KERAS_PORT=$((20000 + SLURM_JOB_ID % 20000))
srun --kill-on-bad-exit=1 --wait=60 mm-keras train "$config" --workers auto
