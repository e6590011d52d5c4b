# shellcheck shell=bash
# Sourced by the Slurm scripts beside it: run a command as a step of the job, and queue the job again
# where the time limit stops it.

run_and_requeue() {
    local step code requeue=no broken_off
    broken_off=$((128 + $(kill -l USR1)))
    # TERM to the job's steps, on every node, makes train save its state and end. It must not go to
    # srun itself, which would have its tasks killed.
    trap 'requeue=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
    # In the background, since bash heeds a signal only between commands, or within `wait`.
    "$@" &
    step=$!
    code=$broken_off
    while [ "$code" -eq "$broken_off" ]; do
        code=0
        wait "$step" || code=$?
    done
    # Done in spite of the signal is done. Without the signal, an error or scancel ends the job, and a
    # job that is preempted is queued again by Slurm itself.
    if [ "$code" -ne 0 ] && [ "$requeue" = yes ]; then
        echo "job $SLURM_JOB_ID: train has saved its state, and is queued again" >&2
        scontrol requeue "$SLURM_JOB_ID"
        code=0
    fi
    return "$code"
}
