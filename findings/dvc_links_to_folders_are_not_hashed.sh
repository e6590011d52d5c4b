#!/usr/bin/env bash
# DVC: in a folder that is a dependency, a link to a file counts, and a link to a folder does not.
#
# One would think: a dependency that is a folder stands for all that is in it, as `cat folder/*/*`
# sees it, and what DVC cannot follow it says.
# What is: a link to a file is followed, an edit of the file is noticed, with the cache of hashes
# (.dvc/tmp) and without. What is behind a link to a folder is left out without a word: `dvc status`
# says "up to date" whatever is edited there, and nfiles in dvc.lock counts the files without it.
# As the dependency itself a link to a folder is followed. A link that leads nowhere ends
# `dvc status` with "unexpected error", not with a changed dependency.
# Seen with dvc 3.67.1 (dvc_objects/fs/local.py: os.walk, which does not follow links to folders;
# dvc_data/fsutils.py: stat, which follows links to files).
# Here: a folder of links to files, each named alone, tells the methods' dependencies apart
# (crest/pipeline/dependencies.py); it never holds a link to a folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq dvc==3.67.1
export PATH="$folder/venv/bin:$PATH" DVC_NO_ANALYTICS=1
mkdir "$folder/project"
cd "$folder/project"
git init -q
dvc init -q
mkdir code package links
echo 1 > code/module.py
echo 1 > package/module.py
ln -s ../code/module.py links/file
ln -s ../package links/folder
ln -s package linked
for name in links linked; do
    dvc stage add -q --name "$name" --deps "$name" "cat $name/* > /dev/null 2>&1 || true"
done
dvc repro -q

status() { # what dvc status lists, a stage a word
    dvc status --json | python -c 'import json, sys; print(*json.load(sys.stdin))'
}

expect() { # what was done, what is listed, what should be
    echo "$1: '$2'"
    [ "$2" = "$3" ] || exit 1
}

expect "nothing edited" "$(status)" ""
echo 2 > code/module.py
expect "a file behind a link edited" "$(status)" "links"
rm -r .dvc/tmp
expect "the same without the cache of hashes" "$(status)" "links"
echo 1 > code/module.py
expect "and set back" "$(status)" ""
echo 2 > package/module.py
expect "a file behind a link to a folder edited" "$(status)" "linked"
echo 1 > package/module.py
rm code/module.py
expect "a link to nothing" "$(dvc status 2>&1 | grep -o 'unexpected error')" "unexpected error"
grep nfiles dvc.lock
echo "as described: links to files are followed, links to folders within a folder are not"
