#!/usr/bin/env bash
# Train in several processes: tools/dist_train.sh CONFIG GPUS [ARGUMENTS OF tools/train.py]
#
# One process per GPU; on a machine without a GPU, GPUS processes over gloo. On several machines,
# start it on each with NNODES (how many machines), NODE_RANK (0 on the first), MASTER_ADDR (the
# first one's address) and PORT. PYTHON selects the interpreter.
set -euo pipefail

if (( $# < 2 )); then
    echo "usage: ${BASH_SOURCE[0]} CONFIG GPUS [ARGUMENTS OF tools/train.py]" >&2
    exit 1
fi
config=$1
gpus=$2
shift 2

tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
source "$tools/launch.sh"
launch "$gpus" "$tools/train.py" "$config" --launcher pytorch "$@"
