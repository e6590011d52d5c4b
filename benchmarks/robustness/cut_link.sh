#!/usr/bin/env bash
# Two hosts, as network namespaces, train together; their link is cut, and mended; both go on.
#
#     sudo bash benchmarks/robustness/cut_link.sh FOLDER
#
# FOLDER holds data/prepared and params.yaml. Prints what each host says and when it ends, counted
# from the cut, and whether the weights at the end are those of a run of one process.
here=$(cd "$(dirname "$0")/.." && pwd)
bin=$here/.venv/bin
cd "$1" || exit 1
logs=$(mktemp -d)
settings=(--method random -S train.precision=float32 -S train.micro_batches=2 -S train.snapshots=0
          -S train.budget=1.0 -S run.save_interval=0)
export OMP_NUM_THREADS=1

ip netns add crest_a && ip netns add crest_b
trap 'ip netns del crest_a; ip netns del crest_b' EXIT
ip link add crest_va netns crest_a type veth peer name crest_vb netns crest_b
for side in a b; do
    number=$([ $side = a ] && echo 1 || echo 2)
    ip -n crest_$side addr add "10.9.0.$number/24" dev crest_v$side
    ip -n crest_$side link set crest_v$side up
    ip -n crest_$side link set lo up
done

host() { # side, rank
    GLOO_SOCKET_IFNAME=crest_v$1 ip netns exec "crest_$1" "$bin/torchrun" --nnodes=2 \
        --nproc-per-node=1 --node-rank="$2" --master-addr=10.9.0.1 --master-port=29511 \
        "$here/cli.py" train "${settings[@]}" > "$logs/$1" 2>&1
    echo "host $1 ended with $? after $(($(date +%s) - $(cat "$logs/cut"))) seconds"
    grep -h '^error' "$logs/$1"
}

rm -rf .resume
date +%s > "$logs/cut"
host a 0 & host b 1 &
until [ -e .resume/train-random.safetensors ]; do sleep 0.2; done
ip -n crest_a link set crest_va down
date +%s > "$logs/cut"
wait
ip -n crest_a link set crest_va up
ls -l .resume
date +%s > "$logs/cut"
host a 0 & host b 1 & wait
cp artifacts/train/random/model.safetensors "$logs"
"$bin/python" "$here/cli.py" train "${settings[@]}" --fresh > /dev/null
"$bin/python" - "$logs/model.safetensors" artifacts/train/random/model.safetensors <<'PYTHON'
import sys
from safetensors.torch import load_file
found, plain = map(load_file, sys.argv[1:])
print("as one process:", all(found[name].equal(plain[name]) for name in plain))
PYTHON
