#!/usr/bin/env bash
# Evaluate in several processes: tools/dist_test.sh CONFIG CHECKPOINT GPUS [ARGUMENTS OF tools/test.py]
#
# One process per GPU; on a machine without a GPU, GPUS processes over gloo. NNODES, NODE_RANK,
# MASTER_ADDR, PORT and PYTHON as for tools/dist_train.sh.
set -euo pipefail

if (( $# < 3 )); then
    echo "usage: ${BASH_SOURCE[0]} CONFIG CHECKPOINT GPUS [ARGUMENTS OF tools/test.py]" >&2
    exit 1
fi
config=$1
checkpoint=$2
gpus=$3
shift 3

tools=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
source "$tools/launch.sh"
launch "$gpus" "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
