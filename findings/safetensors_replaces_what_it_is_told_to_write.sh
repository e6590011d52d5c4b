#!/usr/bin/env bash
# safetensors' save_file does not write into the file that it is told: it writes `.tmpXXXXXX` beside it
# and renames that into place.
#
# One would think that it opens the path and writes, as open(path, "wb"), numpy.save and torch.save do.
# Then a file keeps its mode, a link is followed, hard links stay one file, and a pipe or /dev/stdout
# gets the bytes. What is:
#   - the new file has mode 0600 whatever the umask says and whatever mode the earlier file had, so
#     that weights saved for a group can no longer be read by it (git and rsync carry that on);
#   - a symbolic link is replaced by a file; what it points to keeps the old weights;
#   - a named pipe is replaced by a file, and whoever reads from it waits for ever;
#   - a lock (flock) on the file stays on the old one, which no longer has a name;
#   - a process that is killed while it writes leaves `.tmpXXXXXX` in the folder.
# So write into a folder of one's own, set the mode, and rename from there.
#
# Versions: safetensors 0.8.0, numpy 2.3.5, Python 3.11; earlier ones were not tried.
# Source: observed; the folder is listed while a large file is written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import os
import stat
import sys
import threading

import numpy as np
from safetensors.numpy import load_file, save_file

os.umask(0o022)
ones = {"weight": np.ones(3, np.float32)}
twos = {"weight": np.full(3, 2, np.float32)}
expected = True


def show(what, seen, as_described):
    global expected
    expected &= as_described
    print(f"{what}: {seen}{'' if as_described else '   <- not as described'}")


np.save("plain.npy", ones["weight"])
save_file(ones, "model.safetensors")
modes = [oct(os.stat(name).st_mode & 0o777) for name in ("plain.npy", "model.safetensors")]
show("mode under umask 022, numpy.save and save_file", modes, modes == ["0o644", "0o600"])

os.chmod("model.safetensors", 0o664)
save_file(ones, "model.safetensors")
mode = oct(os.stat("model.safetensors").st_mode & 0o777)
show("mode of a file of mode 664 that is written again", mode, mode == "0o600")

os.symlink("model.safetensors", "latest.safetensors")
save_file(twos, "latest.safetensors")
kept = load_file("model.safetensors")["weight"][0]
linked = os.path.islink("latest.safetensors")
show("a link after save_file: still a link, weights behind it", (linked, kept), not linked and kept == 1)

os.mkfifo("pipe")
save_file(ones, "pipe")
pipe = stat.S_ISFIFO(os.stat("pipe").st_mode)
show("a pipe after save_file is still a pipe", pipe, not pipe)

seen, done = set(), threading.Event()


def watch():
    while not done.is_set():
        seen.update(name for name in os.listdir() if name.startswith(".tmp"))


watcher = threading.Thread(target=watch)
watcher.start()
save_file({"weight": np.zeros(50_000_000, np.float32)}, "large.safetensors")
done.set()
watcher.join()
show("beside it while a large file is written", sorted(seen), bool(seen))
sys.exit(0 if expected else 1)
PYTHON
