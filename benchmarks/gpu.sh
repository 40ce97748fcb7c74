#!/usr/bin/env bash
# All benchmarks of a GPU, beside MONAI's and MONAI Label's own ways, meant for seven minutes.
#
#   OUT=results WHEELS=wheels STUDIES=cells benchmarks/gpu.sh
#
# For a bare machine: Python with torch, and a folder of wheels of what it lacks (monai,
# pytorch-ignite, nibabel, pydicom, scikit-image, scipy, scikit-learn, tifffile, ...; neither
# SimpleITK nor monailabel is needed). Leaves a JSON file for each benchmark and gpu.json, which tells
# what ran, for how long and how it ended. The status is 1 where one failed or had no time.
#
#   OUT      folder of the results, made where it is missing; default gpu_results
#   WHEELS   folder of wheels, installed for this run only; default none
#   STUDIES  labelled images of nuclei to train on; default phantoms
#   DEVICE   cuda (default), cuda:N or cpu
#   QUICK    1: tiny sizes, to see that all runs, on a CPU too
#   ONLY     names of results to make, such as "rows train_32"; default all
#   SECONDS_IN_ALL  default 420
#   PYTHON   default python3
set -uo pipefail
cd "$(dirname "$0")/.."
OUT="${OUT:-gpu_results}"
DEVICE="${DEVICE:-cuda}"
PYTHON="${PYTHON:-python3}"
SECONDS_IN_ALL="${SECONDS_IN_ALL:-420}"
mkdir -p "$OUT"
SITE="$(mktemp -d)"
trap 'rm -rf "$SITE"' EXIT
if [ -n "${WHEELS:-}" ]; then
  "$PYTHON" -m pip install --quiet --no-index --no-deps --target "$SITE" "$WHEELS"/*.whl || exit 1
fi
export PYTHONPATH="$SITE${PYTHONPATH:+:$PYTHONPATH}"
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$SITE/cache}" MPLCONFIGDIR="$SITE/matplotlib"

START=$SECONDS
STATUS=0
ROWS=""

# measure NAME BENCHMARK [OPTION ...]: run one benchmark within the time that is left
measure() {
  local name="$1" left=$((SECONDS_IN_ALL - (SECONDS - START))) begun=$SECONDS ended
  shift
  case " ${ONLY:-$name} " in *" $name "*) ;; *) return ;; esac
  if [ "$left" -lt 10 ]; then
    ended=124
  else
    timeout --kill-after=5 "$left" "$PYTHON" -m monailabel_app benchmark "$@" \
      --device "$DEVICE" ${QUICK:+--quick} --json "$OUT/$name.json"
    ended=$?
  fi
  [ "$ended" = 0 ] || STATUS=1
  ROWS="$ROWS$name $ended $((SECONDS - begun))"$'\n'
  echo "$name: status $ended after $((SECONDS - begun)) s"
}

measure training_step_8 training-step --batch-size 8
measure train_32 train --batch-size 32 ${STUDIES:+--studies "$STUDIES"}
measure study study ${STUDIES:+--studies "$STUDIES"}
measure rows rows
measure inference inference --runs 20
measure batch batch
measure train_8 train --batch-size 8 --steps 2000 ${STUDIES:+--studies "$STUDIES"}
measure training_step_32 training-step --batch-size 32
measure inference_nuclei inference --runs 20 --task nuclei
measure batch_nuclei batch --task nuclei

printf '%s' "$ROWS" | "$PYTHON" -c '
import json, sys
rows = [line.split() for line in sys.stdin]
made = [{"name": name, "status": int(status), "seconds": int(taken)} for name, status, taken in rows]
json.dump({"device": sys.argv[1], "quick": sys.argv[2] == "1", "benchmarks": made}, open(sys.argv[3], "w"), indent=2)
' "$DEVICE" "${QUICK:-0}" "$OUT/gpu.json"
exit "$STATUS"
