#!/usr/bin/env bash
# Serves one model shape under the same closed loops by FastGen and by the peers that are present, one after another on one device.
# usage: compare.sh RESULTS [LOADS]       LOADS: a file of loads (default: peers/loads.jsonl beside this script), or points as for `serve --points`
#   SHAPE (llama3-8b), OURS_LIMIT (240), PEER_LIMIT (300): seconds; past the second, counted after its imports, a peer starts no further load;
#   VLLM_LIMIT, DEEPSPEED_LIMIT, TRANSFORMERS_LIMIT: for one of them
#   CONTEXT (8192): tokens of the longest request for us and vLLM, where the shape allows so many; the others take the shape's
#   PEERS (vllm deepspeed transformers): who is compared; OFFLINE=1: afterwards batches that come at once, of ours and vLLM (40 s each more);
#   DECODES: of its decodes only those of these numbers of sequences, as 1,128
#   VLLM_PYTHONPATH, DEEPSPEED_PYTHONPATH (and DS_PREBUILT), TRANSFORMERS_PYTHONPATH: folders of packages where they are not installed;
#   a peer whose package cannot be found is left out. PYTHON (python3).
# Writes loads.jsonl (what is sent), fastgen.jsonl, vllm.jsonl, deepspeed.jsonl, transformers.jsonl, environment.txt and a log each into RESULTS.
# Figures afterwards, where SkiaSharp is: FastGen.Benchmarks serve --mode plots --output RESULTS
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
results=${1:?usage: compare.sh RESULTS [LOADS]}
loads=${2:-$here/peers/loads.jsonl}
shape=${SHAPE:-llama3-8b} python=${PYTHON:-python3}
mkdir -p "$results"
results=$(cd "$results" && pwd)
program=$here/FastGen.Benchmarks
[[ -x $program ]] || program=${FASTGEN_BENCHMARKS:?FastGen.Benchmarks is not beside this script: set FASTGEN_BENCHMARKS to it}
peers=$here/peers

{
    date -u +'%Y-%m-%d %H:%M UTC'
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv 2>&1
    lscpu 2>/dev/null | grep -E '^(Model name|CPU\(s\))'
    uname -sr
    "$python" --version 2>&1
} > "$results/environment.txt"
cat "$results/environment.txt"

if [[ -f $loads ]]; then cp "$loads" "$results/loads.jsonl"; else "$program" serve --mode lengths --points "$loads" --output "$results"; fi || exit 1

echo "== FastGen"
offline=${OFFLINE:-0} decodes=(${DECODES:+--decodes "$DECODES"})
timeout "${OURS_LIMIT:-240}" "$program" serve --shape "$shape" --device cuda --sequences "${SEQUENCES:-128}" --context "${CONTEXT:-8192}" --loads "$results/loads.jsonl" --offline "$([[ $offline == 1 ]] && echo on || echo off)" "${decodes[@]}" --output "$results/fastgen" 2>&1 | tee "$results/fastgen.log"
cp "$results/fastgen/summary.jsonl" "$results/fastgen.jsonl" 2>/dev/null
gzip -f "$results"/fastgen/{requests,steps}.jsonl 2>/dev/null

# NAME PACKAGE FOLDER ARGUMENTS…: a peer, if Python finds its package.
peer() {
    local name=$1 package=$2 folder=$3 own=${1^^}_LIMIT
    local limit=${!own:-${PEER_LIMIT:-300}}
    shift 3
    [[ " ${PEERS:-vllm deepspeed transformers} " == *" $name "* ]] || return
    if ! PYTHONPATH=$folder "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$package') is None)"; then
        echo "== $name: Python finds no package $package; left out"
        return
    fi
    echo "== $name"
    # The script ends itself first, so that nothing which it measured is lost.
    PYTHONPATH=$folder PYTHONUNBUFFERED=1 timeout -k 10 "$((limit + 60))" \
        "$python" "$peers/${name}_sweep.py" "$results/loads.jsonl" "$results/$name.jsonl" --shape "$shape" --limit "$limit" --context "${CONTEXT:-8192}" "$@" 2> "$results/$name.log" | grep '^{'
    # A peer that was killed may leave workers on the device.
    local waited=0
    while ((waited < 20)) && [[ -n $(nvidia-smi --query-compute-apps=pid --format=csv,noheader 2>/dev/null) ]]; do sleep 2; ((waited += 2)); done
}
VLLM_USE_FLASHINFER_SAMPLER=${VLLM_USE_FLASHINFER_SAMPLER:-0} peer vllm vllm "${VLLM_PYTHONPATH:-}" $([[ $offline == 1 ]] && echo --offline "${decodes[@]}")
peer deepspeed mii "${DEEPSPEED_PYTHONPATH:-}" --budget "${DEEPSPEED_BUDGET:-2048}"
peer transformers transformers "${TRANSFORMERS_PYTHONPATH:-}" --attention "${TRANSFORMERS_ATTENTION:-sdpa}"
echo "wrote $results"
