# What dist_train.sh and dist_test.sh share; sourced, with `tools` set to the folder of both.

# Start a program in several processes.
#   $1: processes on this machine; $2: the program; the rest: its arguments
launch() {
    local processes=$1
    shift
    if [[ ! $processes =~ ^[1-9][0-9]*$ ]]; then
        echo "error: Expected GPUS to be a positive number, but got '$processes'" >&2
        exit 1
    fi
    # Outside of any environment, the one of `make setup` is meant.
    local python=python
    if [[ -z ${VIRTUAL_ENV:-}${CONDA_PREFIX:-} && -x $tools/../.venv/bin/python ]]; then
        python=$tools/../.venv/bin/python
    fi
    exec "${PYTHON:-$python}" -m torch.distributed.run \
        --nnodes="${NNODES:-1}" \
        --node-rank="${NODE_RANK:-0}" \
        --nproc-per-node="$processes" \
        --master-addr="${MASTER_ADDR:-127.0.0.1}" \
        --master-port="${PORT:-29500}" \
        "$@"
}
