#!/usr/bin/env bash
# Train on one node under Slurm, one process for each GPU, or one where there is none. In the project
# folder, once data/prepared is there:
#
#   sbatch cluster/slurm_one_node.sh --method crest
#
# What follows the script goes to `python cli.py train`. docs/cluster.md says what happens at the time
# limit, and what to change for your site.
#SBATCH --job-name=crest
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
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

run_and_requeue srun torchrun --standalone --nproc-per-node="${SLURM_GPUS_ON_NODE:-1}" \
    cli.py train "$@"
