#!/usr/bin/env bash
# Install m2f_mm with one of its two stacks into a virtual environment. The Makefile, CI and the Dockerfile all call
# this file, so that what is tested is what a user gets.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: tools/install.sh [--stack onedl|openmmlab] [--venv DIR] [--no-tests] [--dev] [--force]

  --stack NAME   onedl (default): the maintained releases; openmmlab: the originals that most projects have
  --venv DIR     virtual environment, made if missing, completed if there (default .venv, or .venv-openmmlab)
  --no-tests     leave out what only the tests need
  --dev          also the linter and pre-commit
  --force        check and install everything again, whatever the stamp of the last run says

Variables:
  PYTHON           interpreter for a new environment: Python 3.10 to 3.12 (default python3)
  TORCH_SPEC       what pip is asked for (default torch==2.13.0)
  TORCH_INDEX_URL  index to take torch from, e.g. https://download.pytorch.org/whl/cu130
  PIP_FIND_LINKS   folders or pages with ready-made wheels; a fitting mmcv wheel saves its compilation
  MAX_JOBS         compiler processes (default: number of cores)
  FORCE_CUDA       1: compile mmcv's CUDA ops although no GPU is visible (image builds)
  M2F_CACHE        where compiled mmcv wheels are kept (default .cache in the project)
TEXT
}

# What went wrong is kept in the environment, too, where doctor.py finds it.
die() {
    printf '\ninstall.sh: %s\n' "$1" >&2
    [ "${step:-0}" -gt 0 ] && [ -d "$venv" ] && printf '%s\n' "$1" >"$venv/.m2f_mm-failed"
    exit 1
}
say() { printf '%s\n' "$*"; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
stack=onedl venv='' tests=1 dev=0 force=0
while [ $# -gt 0 ]; do
    case $1 in
        --stack) stack=${2:?--stack needs a name}; shift 2 ;;
        --venv) venv=${2:?--venv needs a folder}; shift 2 ;;
        --no-tests) tests=0; shift ;;
        --dev) dev=1; shift ;;
        --force) force=1; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" ;;
    esac
done
case $stack in
    onedl) mmcv=onedl-mmcv other=mmengine ;;
    openmmlab) mmcv=mmcv other=onedl-mmengine ;;
    *) die "--stack is '$stack'; it must be onedl or openmmlab" ;;
esac
if [ -z "$venv" ]; then
    [ "$stack" = onedl ] && venv=$root/.venv || venv=$root/.venv-openmmlab
fi
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
torch_spec=${TORCH_SPEC:-torch==2.13.0}
cache=${M2F_CACHE:-$root/.cache}
python=$venv/bin/python
stamp=$venv/.m2f_mm-installed
req=$root/requirements

# ---------------------------------------------------------------- has this been done already?
base_python=${PYTHON:-python3}
[ -x "$python" ] && base_python=$python
command -v "$base_python" >/dev/null 2>&1 \
    || die "'$base_python' was not found. Install Python 3.10, 3.11 or 3.12, or name one: PYTHON=/path/to/python3.11"
# The key of the stamp: everything that decides what would be installed.
key=$("$base_python" - "$stack" "$torch_spec" "${TORCH_INDEX_URL:-}" "${FORCE_CUDA:-0}" "$tests$dev" "$root" <<'PY'
import glob, hashlib, sys
if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit(f'install.sh: {sys.executable} is Python {sys.version.split()[0]}, but m2f_mm needs 3.10, 3.11 or 3.12. '
             'Name another: PYTHON=/path/to/python3.11 (and remove the virtual environment, if it has the wrong one)')
digest = hashlib.sha256(repr((sys.version_info, sys.argv[1:])).encode())
root = sys.argv[-1]
for name in sorted(glob.glob(root + '/requirements/*.txt')) + [root + '/pyproject.toml', root + '/setup.py', root + '/tools/install.sh']:
    with open(name, 'rb') as file:
        digest.update(file.read())
print(digest.hexdigest())
PY
)
"$base_python" "$root/tools/write_pure_configs.py" >/dev/null  # whatever was installed before
if [ "$force" = 0 ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ]; then
    say "m2f_mm with the $stack stack is ready in $venv (nothing to do)"
    exit 0
fi
rm -f "$stamp"

# ---------------------------------------------------------------- say what will happen
py_tag=$("$base_python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
mmcv_version=$(sed -n "s/^$mmcv==//p" "$req/tested.txt")
# Print the mmcv wheels for this Python in the given folders (compiled here before), then in the user's.
ready_wheels() {
    local folder
    # shellcheck disable=SC2086  # PIP_FIND_LINKS is a list
    for folder in "$@" ${PIP_FIND_LINKS:-}; do
        [ -d "$folder" ] || continue
        find -L "$folder" -maxdepth 1 -name "${mmcv//-/_}-$mmcv_version-$py_tag-*.whl" 2>/dev/null
    done
}
need_compiler() {
    local cxx=${CXX:-g++}
    command -v "${cxx%% *}" >/dev/null 2>&1 || die "no C++ compiler: '$cxx' was not found, and mmcv's ops have to be compiled.
Install one (Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++), name one with CXX, or put a
ready-made wheel of $mmcv $mmcv_version for $py_tag into a folder and name that with PIP_FIND_LINKS."
}
jobs=${MAX_JOBS:-$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)}
export MAX_JOBS=$jobs
say "Installing m2f_mm with the $stack stack into $venv"
say "  1. virtual environment, build tools           under 1 minute"
say "  2. $torch_spec                                1 to 5 minutes (200 MB for a CPU, 3 GB with CUDA)"
if [ -n "$(ready_wheels "$cache/wheels/$stack-$py_tag"-*)" ]; then
    say "  3. $mmcv $mmcv_version                          under 1 minute (a ready-made wheel is here)"
else
    say "  3. $mmcv $mmcv_version, compiled once           13 to 20 minutes on 2 cores ($jobs used here)"
    need_compiler
fi
say "  4. mmengine, mmdet, mmseg and the rest        1 to 2 minutes"
say "Interrupted, it goes on where it was when it is started again."

step=0
begin() { step=$((step + 1)) doing=$*; say ''; say "[$step/4] $(date +%H:%M:%S) $*"; }

# ---------------------------------------------------------------- 1. environment and build tools
begin 'virtual environment and build tools'
"$python" -m pip --version >/dev/null 2>&1 || "${PYTHON:-python3}" -m venv "$venv" \
    || die "no virtual environment could be made in $venv (Debian, Ubuntu: apt-get install python3-venv)"
export PATH=$venv/bin:$PATH VIRTUAL_ENV=$venv PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=1
unset PYTHONPATH PYTHONHOME
constraints=$venv/.m2f_mm-constraints
: >"$constraints"
pip_log=$venv/.m2f_mm-pip.log
pip() { "$python" -m pip "$@"; }
# Run pip with its output in a file, and show the end of that where it fails: --quiet would hide the reason.
try_pip() { pip "$@" >"$pip_log" 2>&1 || { tail -n 30 "$pip_log" >&2; return 1; }; }
try_get() { try_pip install --no-warn-conflicts --progress-bar off -c "$constraints" "$@"; }
get() { try_get "$@" || pip_failed; }
pip_failed() {
    local cure reason=''
    said() { grep -aqiE "$1" "$pip_log" 2>/dev/null; }
    if said 'ResolutionImpossible|conflicting dependencies'; then
        cure="Requirements contradict each other; pip names them above ($(cat "$constraints") is what step 2 installed).
If the environment had other packages before, take a new one: --venv DIR. Another torch: TORCH_SPEC, TORCH_INDEX_URL."
    elif said 'No space left'; then
        cure='The disk is full: make room, or name another folder with --venv DIR and TMPDIR.'
    elif said 'NewConnectionError|name resolution|timed out|Max retries|ProxyError|SSLError|ConnectionResetError'; then
        cure='The package index is out of reach: check the network, the proxy (HTTPS_PROXY) and the index (pip config list,
TORCH_INDEX_URL). Without a network, put wheels into a folder and set PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER.'
    elif said 'No matching distribution|Could not find a version'; then
        cure="The index has no such release for this Python and computer: check TORCH_SPEC ($torch_spec), TORCH_INDEX_URL
(${TORCH_INDEX_URL:-not set}) and the index (pip config list)."
    elif said 'Permission denied'; then
        cure="$venv cannot be written: mend its owner, or name another folder with --venv DIR."
    else
        cure='Mend what pip says above; run again, the installation goes on where it was.'
    fi
    reason=$(grep -aE '^ *ERROR' "$pip_log" 2>/dev/null | tail -n 1 || true)
    die "step [$step/4], $doing, failed${reason:+: $reason}
$cure
All that pip said is in $pip_log"
}
rm -f "$venv/.m2f_mm-failed"
has() { "$python" -c 'import sys; from importlib.metadata import version; version(sys.argv[1])' "$1" 2>/dev/null; }
if has "$other"; then
    die "$venv already holds $other, which belongs to the other stack. Both stacks provide the same import names,
so they cannot share an environment. Choose another one (--venv DIR), or remove this one."
fi
get -r "$req/build.txt" 'numpy>=1.24'

# ---------------------------------------------------------------- 2. torch
begin "$torch_spec"
torch_args=()
if [ -n "${TORCH_INDEX_URL:-}" ]; then
    torch_args=(--extra-index-url "$TORCH_INDEX_URL")
elif ! command -v nvidia-smi >/dev/null 2>&1 && [ "$(uname -s)" = Linux ] && [ "${FORCE_CUDA:-0}" != 1 ]; then
    # Without a GPU the CPU build does the same in a tenth of the space; where that index is out of reach, any will do.
    cpu_index=https://download.pytorch.org/whl/cpu
    if ! "$python" -c 'import torch' 2>/dev/null && "$python" - "$cpu_index/torch/" 2>/dev/null <<'PY'
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=5).close()
PY
    then
        torch_args=(--extra-index-url "$cpu_index")
    fi
fi
if has torch >/dev/null; then
    try_pip install ${torch_args[@]+"${torch_args[@]}"} "$torch_spec" || pip_failed
else  # the first time it is large, and its progress is shown
    pip install --log "$pip_log.new" ${torch_args[@]+"${torch_args[@]}"} "$torch_spec" \
        || { mv "$pip_log.new" "$pip_log"; pip_failed; }
    rm -f "$pip_log.new"
fi
torch_version=$("$python" -c 'import torch; print(torch.__version__)' 2>"$pip_log") \
    || die "step [$step/4]: torch is installed but cannot be imported: $(tail -n 1 "$pip_log")
Install it anew with '$python -m pip install --force-reinstall $torch_spec', name a build for this computer with
TORCH_INDEX_URL (https://download.pytorch.org/whl/cpu has those without CUDA), or remove $venv"
say "torch $torch_version"
# Nothing below may replace it. pip goes by the distribution's version: on PyPI that lacks the local part, such as
# +cu130, which the module's own has.
torch_distribution=$("$python" -c 'from importlib.metadata import version; print(version("torch"))')
echo "torch==$torch_distribution" >"$constraints"

# ---------------------------------------------------------------- 3. mmcv with its compiled ops
begin "$mmcv $mmcv_version"
mmcv_has_ops() { "$python" -c 'import mmcv._ext, mmcv.ops; mmcv.ops.MultiScaleDeformableAttention' >/dev/null 2>&1; }
# mmcv imports these while we look for its ops. An OpenCV that works is left alone: two builds of cv2 cannot share a
# folder. One that does not (no libGL) makes room for the headless build.
if "$python" -c 'import cv2' 2>/dev/null; then
    grep -v '^opencv' "$req/stack.txt" >"$venv/.m2f_mm-stack.txt"
else
    pip uninstall --quiet -y opencv-python opencv-python-headless 2>/dev/null || true
    cp "$req/stack.txt" "$venv/.m2f_mm-stack.txt"
fi
get -r "$venv/.m2f_mm-stack.txt"
sed -n "/mmengine/p" "$req/$stack.txt" >"$venv/.m2f_mm-mmengine.txt"
get --no-deps -c "$req/tested.txt" -r "$venv/.m2f_mm-mmengine.txt"

cuda=$("$python" -c 'import torch; print("cu" + torch.version.cuda if torch.version.cuda else "cpu")')
device=cpu
if [ "$cuda" != cpu ] && { [ "${FORCE_CUDA:-0}" = 1 ] || "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; }; then
    if command -v nvcc >/dev/null 2>&1 || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then
        device=$cuda
    else
        say "A GPU is here but no CUDA compiler (nvcc), so mmcv's ops are compiled for the CPU only and deformable
attention runs through PyTorch on the GPU. For the fast op install the CUDA $cuda toolkit, set CUDA_HOME, and run this
script with --force after removing $cache/wheels."
    fi
fi
wheels=$cache/wheels/$stack-$py_tag-torch$torch_version-$device

compile_mmcv() {
    local build=$cache/build/${wheels##*/} log pid started next line
    need_compiler
    log=$build/compile.log
    mkdir -p "$build"
    if [ ! -f "$build/source/setup.py" ]; then
        say "fetching the source of $mmcv $mmcv_version"
        rm -rf "$build/download" "$build/unpacked"
        try_pip download --no-deps --no-build-isolation --no-cache-dir --no-binary :all: \
            -d "$build/download" "$mmcv==$mmcv_version" || pip_failed
        mkdir "$build/unpacked"
        tar -xzf "$build"/download/*.tar.gz -C "$build/unpacked"
        mv "$build"/unpacked/* "$build/source"
    fi
    rm -rf "$build/dist"
    say "compiling with $jobs processes for $device; log in $log"
    # The build folder stays until the wheel is there: ninja goes on where an interrupted run was.
    # Without a CUDA compiler the GPU is hidden, so that mmcv's setup.py does not ask for one.
    set -m  # a process group of its own, which can be ended as a whole
    (
        [ "$device" = cpu ] && export CUDA_VISIBLE_DEVICES='' && unset FORCE_CUDA
        export MMCV_WITH_OPS=1
        cd "$build/source"
        exec "$python" -m pip wheel -v --no-deps --no-build-isolation --no-cache-dir -w "$build/dist" .
    ) >"$log" 2>&1 &
    pid=$! started=$SECONDS next=0
    set +m
    # shellcheck disable=SC2064  # the number is wanted now
    trap "kill -- -$pid 2>/dev/null; exit 130" INT TERM HUP
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        [ $((SECONDS - started)) -ge $next ] || continue
        next=$((next + 30))
        line=$(grep -ao '\[[0-9]*/[0-9]*\]' "$log" | tail -1 || true)
        say "  mmcv: $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s, files compiled ${line:-[starting]}"
    done
    wait "$pid" || { tail -n 40 "$log" >&2; die "compiling $mmcv $mmcv_version failed; the end of $log is above"; }
    trap - INT TERM HUP
    mkdir -p "$wheels"
    cp "$build"/dist/*.whl "$wheels/.partial"
    mv "$wheels/.partial" "$wheels/$(basename "$build"/dist/*.whl)"
    rm -rf "$build"
}

if ! mmcv_has_ops; then
    has "$mmcv" && say "$mmcv is installed without its compiled ops (a wheel that was built without torch): replacing it"
    while IFS= read -r wheel; do
        try_get --no-deps --force-reinstall "$wheel" || continue
        mmcv_has_ops && { say "took $wheel"; break; }
        say "$wheel lacks the compiled ops, or they do not fit torch $torch_version: trying the next"
    done < <(ready_wheels "$wheels")
fi
if ! mmcv_has_ops; then
    say "no ready-made wheel of $mmcv fits: it is compiled now, 13 to 20 minutes on 2 cores"
    compile_mmcv
    get --no-deps --force-reinstall "$wheels"/*.whl
    mmcv_has_ops || { "$python" -c 'import mmcv._ext, mmcv.ops' || true; die "$mmcv was compiled, but its ops cannot be imported (see above)"; }
fi
say "mmcv's ops are there"

# ---------------------------------------------------------------- 4. the rest
begin 'mmengine, mmdet, mmseg, m2f_mm'
if [ "$stack" = onedl ]; then
    get -r "$req/stack-onedl.txt"
    get --no-deps -c "$req/tested.txt" imaug
fi
get --no-deps -c "$req/tested.txt" -r "$req/$stack.txt"
get -r "$req/runtime.txt"
if [ "$tests" = 1 ]; then get -r "$req/tests.txt" -r "$req/evaluation.txt"; fi
if [ "$dev" = 1 ]; then get -r "$req/dev.txt"; fi
get --no-deps --no-build-isolation -e "$root"
# The doctor imports everything that was installed, from outside the project folder.
(cd / && "$python" "$root/tools/doctor.py") \
    || die 'all packages are installed, but not all of them work: see above what is broken, and the cure of each'
printf '%s\n' "$key" >"$stamp.partial"
mv "$stamp.partial" "$stamp"
say ''
say "$(date +%H:%M:%S) ready: $venv/bin/python, or 'source $venv/bin/activate'"
