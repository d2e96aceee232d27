#!/usr/bin/env bash
# What is to be done on a GPU that is there for minutes. No network and no downloaded weights.
#
#   benchmarks/gpu.sh speed     the table of docs/gpu.md, as OUT/speed.json
#   benchmarks/gpu.sh build     both built-in models, trained anew, as OUT/*.tar.NN
#   benchmarks/gpu.sh           one after the other
#
# Settings, from the environment: PYTHON (an interpreter that has the package's requirements), OUT,
# WORK (checkpoints and drawn faces; a second call goes on from them), DEVICE, SHAPE, MINUTES of the
# measuring, BASE_MINUTES and KONTEXT_MINUTES of the trainings, in which drawing the faces is not
# counted, FACES and CHANGES that are drawn. To try it on a CPU:
#
#   DEVICE=cpu SHAPE=tiny BASE_MINUTES=.3 KONTEXT_MINUTES=.2 FACES=200 CHANGES=125 benchmarks/gpu.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${OUT:-out/gpu} work=${WORK:-out/build} device=${DEVICE:-cuda}
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out"

speed() {
  "$python" -m pairedit_sdk bench speed --shape "${SHAPE:-FLUX.1-dev}" --device "$device" \
    --minutes "${MINUTES:-6}" -o "$out/speed.json"
}

build() {
  "$python" -m pairedit_sdk.builtin.build.mini --device "$device" --minutes "${BASE_MINUTES:-4}" \
    --faces "${FACES:-36000}" --folder "$work" --output "$work/base"
  "$python" -m pairedit_sdk.builtin.build.mini_kontext --device "$device" \
    --minutes "${KONTEXT_MINUTES:-2}" --changes "${CHANGES:-12000}" --start "$work/base" \
    --folder "$work" --output "$work/kontext"
  # A machine that is lent may hand back small files only: 15 MiB a piece.
  for model in base kontext; do
    tar c -C "$work" "$model" | split -b 15M -d - "$out/$model.tar."
  done
}

case "${1:-all}" in
  speed) speed ;;
  build) build ;;
  all) speed && build ;;
  *) echo "Usage: benchmarks/gpu.sh [speed|build]" >&2 && exit 2 ;;
esac
ls -l "$out"
