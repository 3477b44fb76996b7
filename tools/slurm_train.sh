#!/usr/bin/env bash
# Train on a Slurm cluster: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [arguments of train.py ...]
# Variables: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS (further arguments of srun, split at blanks).
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=''] $0 PARTITION JOB_NAME CONFIG [WORK_DIR] [arguments of train.py ...]" >&2; exit 2; }
partition=$1
job=$2
config=$3
shift 3
work_dir=()
case ${1:-} in
    '' | -*) ;;
    *) work_dir=(--work-dir "$1"); shift ;;
esac
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
[ "$gpus" -lt "$per_node" ] && per_node=$gpus
read -r -a srun_args <<<"${SRUN_ARGS:-}"
set -x
exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${srun_args[@]+"${srun_args[@]}"} \
    "${PYTHON:-python}" -u "$(dirname "${BASH_SOURCE[0]}")/train.py" "$config" --launcher slurm \
    ${work_dir[@]+"${work_dir[@]}"} "$@"
