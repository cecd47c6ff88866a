#!/usr/bin/env bash
# Runs CUDA tests of an unpacked archive of publish.sh under compute-sanitizer: memcheck (accesses out of bounds) and racecheck (hazards in shared memory).
# usage: sanitize.sh [RESULTS_FOLDER] [memcheck|racecheck|synccheck|initcheck|all] [TEST_FILTER]      (default: memcheck and racecheck of the kernels' own tests)
# racecheck does not know the order that an mbarrier gives to bulk copies: where prompts attend (CudaStepTests, CudaHeadTests) it reports attention_wgmma's zeros behind the last
# position against the copies that fill the same slots before and after. The default leaves those tests to memcheck.
# Writes TOOL.txt into the folder; fails where a test fails or the tool reports an error. Tests that lose the device on purpose are left out.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
results=${1:-gpu-results}
tools=${2:-all}
kernels="FullyQualifiedName~CudaProductTests|FullyQualifiedName~CudaGemmTests|FullyQualifiedName~CudaExpertTests|FullyQualifiedName~CudaSamplingTests"
[[ $tools == all ]] && tools="memcheck racecheck"
mkdir -p "$results"
results=$(cd "$results" && pwd)
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -n 1)
if [[ -z $sanitizer ]]; then
    echo "compute-sanitizer is not here: install the CUDA toolkit" >&2
    exit 2
fi
cd "$here"
status=0
for tool in $tools; do
    filter=${3:-TestCategory=Cuda&($kernels$([[ $tool == racecheck ]] || echo '|FullyQualifiedName~CudaStepTests|FullyQualifiedName~CudaHeadTests|FullyQualifiedName~CudaSharedAttentionTests|FullyQualifiedName~CudaDividedNormTests|FullyQualifiedName~CudaPairTests'))}
    # No launch timing here matters, and recorded steps report their kernels like any other.
    timeout "${SANITIZE_SECONDS:-540}" "$sanitizer" --tool "$tool" --error-exitcode 9 --target-processes all --print-limit 20 \
        ./FastGen.Tests --filter "($filter)&FullyQualifiedName!~CudaDeviceLossTests" --progress off --no-ansi > "$results/$tool.txt" 2>&1
    code=$?
    summary=$(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY' "$results/$tool.txt" | tail -n 1)
    echo "$tool: exit code $code; ${summary:-no summary}; $(grep -E '^  (failed|succeeded):' "$results/$tool.txt" | tr -s ' ' | tr '\n' ' ')"
    ((code == 0)) || status=1
done
exit $status
