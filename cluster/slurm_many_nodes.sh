#!/usr/bin/env bash
# Train on several nodes under Slurm, one process for each GPU, or one a node where there is none. In
# the project folder, on a file system that all nodes share, once data/prepared is there:
#
#   sbatch --nodes=4 cluster/slurm_many_nodes.sh --method crest
#
# What follows the script goes to `python cli.py train`. docs/cluster.md says what happens at the time
# limit, and what to change for your site.
#SBATCH --job-name=crest
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=128G
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail

# shellcheck source=/dev/null
[ ! -f .venv/bin/activate ] || . .venv/bin/activate
# shellcheck source=cluster/requeue.sh
. cluster/requeue.sh
# Since Slurm 22.05 srun does not take this over from sbatch.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"

# The nodes find each other on the first of them, at a port that other jobs there will not use.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 12000))

# Not with --kill-on-bad-exit: at a TERM the first process to end would take the others with it, of
# which one is saving the state. A node that is lost ends them all without it.
run_and_requeue srun torchrun --nnodes="$SLURM_JOB_NUM_NODES" \
    --nproc-per-node="${SLURM_GPUS_ON_NODE:-1}" --rdzv-backend=c10d \
    --rdzv-endpoint="${nodes[0]}:$port" --rdzv-id="$SLURM_JOB_ID" cli.py train "$@"
