#!/usr/bin/env bash
# Run the pipeline on a machine that may be taken away, from the start or from where it was stopped.
# Started whenever such a machine starts, with dvc and the project's packages on PATH:
#
#   preempted.sh https://example.org/project.git run-1 /disk/project [TARGET]...
#
# that is the project's repository, a branch of this run's own, to which what is finished and the
# state of what is not are pushed, the folder to work in, and what is left goes to `dvc repro`. The
# data behind them go to the project's default DVC remote. docs/cluster.md says more.
set -euo pipefail

repository=$1
branch=$2
folder=$3
shift 3

told=
run=

# SIGINT, since dvc leaves that to what it runs, and ends in order after it. A SIGTERM would end dvc
# and leave train alone.
stop() {
    told=yes
    [ -z "$run" ] || kill -INT -- "-$run" 2>/dev/null || true
}
trap stop TERM INT

# Get the project as the last machine left it, whole or not at all.
clone() {
    local new=$folder.partial
    rm -rf "$new"
    git clone --quiet "$repository" "$new"
    (
        cd "$new"
        if git rev-parse --quiet --verify "origin/$branch" >/dev/null; then
            git checkout --quiet "$branch"
        else
            git checkout --quiet -b "$branch"
        fi
        [ ! -f .resume.dvc ] || dvc pull --quiet .resume.dvc
    )
    mv "$new" "$folder"
}

# Push what is finished, and the state of what is not. The data go first: should time run out, the
# branch is as it was, and fits to data that are there.
keep() {
    if [ -n "$(ls -A .resume 2>/dev/null)" ]; then
        dvc add --quiet .resume
    else
        rm -f .resume.dvc
    fi
    dvc push --quiet
    git add --all -- '*dvc*' # dvc.lock and .resume.dvc, of which either may not be there
    git diff --cached --quiet || git commit --quiet --message "$1"
    git push --quiet origin "HEAD:refs/heads/$branch"
}

[ -d "$folder" ] || clone
[ -z "$told" ] || exit 143
cd "$folder"
export GIT_AUTHOR_NAME="${GIT_AUTHOR_NAME:-crest}" GIT_COMMITTER_NAME="${GIT_COMMITTER_NAME:-crest}"
export GIT_AUTHOR_EMAIL="${GIT_AUTHOR_EMAIL:-crest@$HOSTNAME}"
export GIT_COMMITTER_EMAIL="${GIT_COMMITTER_EMAIL:-crest@$HOSTNAME}"
# What a dvc that was cut off held: process numbers of before the machine's start mean nothing now.
rm -f .dvc/tmp/rwlock

set -m # a process group of its own
dvc repro --pull "$@" &
run=$!
set +m
[ -z "$told" ] || stop
# Until all of it has ended: a signal breaks `wait` off, and dvc may end before train.
wait "$run" || true
while kill -0 -- "-$run" 2>/dev/null; do sleep 0.1; done
code=0
wait "$run" || code=$?

if [ "$code" -eq 0 ]; then
    keep "Finish the run"
    exit
fi
keep "Keep the state of an unfinished run"
[ -z "$told" ] || code=143
exit "$code"
