#!/bin/sh
# Trains and evaluates every run of the proof that has no result yet. Stop and start it at any time.
#   sh run.sh                            with TRL, on the very rows of every step of the plan
#   TRAINER=llamafactory sh run.sh       or axolotl: steps of a fixed number of rows
#   sh run.sh random/0-0.0003-steps      these runs alone; several machines can share runs.txt
#   KEEP=1 sh run.sh                     keeps the trained models
set -eu
cd "$(dirname "$0")"

train() {
    case "${TRAINER:-trl} $1" in
    "trl "* | *" untrained/"*) python train_trl.py "$1" ${KEEP:+--save}; return ;;
    "llamafactory "*) llamafactory-cli train "llamafactory/$1.yaml" ;;
    "axolotl "*) axolotl train "axolotl/$1.yaml" ;;
    *) echo "TRAINER is trl, llamafactory or axolotl, not $TRAINER." >&2; exit 2 ;;
    esac
    python train_trl.py "$1" --weights "models/$1" --trainer "$TRAINER"
    [ -n "${KEEP:-}" ] || rm -rf "models/$1"
}

for run in ${*:-$(cat runs.txt)}; do
    [ -e "results/$run.jsonl" ] || train "$run"
done
