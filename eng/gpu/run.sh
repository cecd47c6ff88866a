#!/usr/bin/env bash
# Runs the CUDA tests and benchmarks of an unpacked archive of publish.sh on a GPU host; no SDK is needed.
# usage: run.sh [RESULTS_FOLDER] [tests|benchmarks|sanitize|all] [benchmark arguments…]      (sanitize: sanitize.sh instead of plain tests)
# Tests of category Cuda run in groups side by side, JOBS at once (default: the processors), and last, by themselves, those of no group, among them what fills the device's memory.
# TEST_FILTER in the environment chooses others, which run in one program.
# Writes tests.txt (and a file for each group), benchmarks.txt and results.json (device, driver, date, benchmark lines) into the folder and ends with the result table.
# It fails where a test fails, where a group ends without a summary, or where fewer ran than there are.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
results=${1:-gpu-results}
what=${2:-all}
shift $(($# < 2 ? $# : 2))
mkdir -p "$results"
results=$(cd "$results" && pwd)
cd "$here"
chmod +x FastGen.Tests FastGen.Benchmarks 2>/dev/null
status=0

N=FullyQualifiedName
groups=(
    "steps-many $N~CudaStepTests&$N~Attention_LongAndMany"
    "steps-chunks $N~CudaStepTests&$N~Attention_ChunksOfLongContexts"
    "steps-f32 $N~CudaStepTests&$N~Attention_Prompts&$N~F32"
    "steps-128 $N~CudaStepTests&$N~Attention_Prompts&$N!~F32&$N~,128,"
    "steps-others $N~CudaStepTests&$N~Attention_Prompts&$N!~F32&$N!~,128,"
    "steps-rest $N~CudaStepTests&$N!~Attention_Prompts&$N!~Attention_LongAndMany&$N!~Attention_ChunksOfLongContexts"
    "shared-attention $N~CudaSharedAttentionTests"
    "heads $N~CudaHeadTests"
    "windows $N~CudaWindowTests"
    "products-plain $N~CudaProductTests&($N~Linear_Plain|$N~Linear_Accumulate)"
    "products-normed $N~CudaProductTests&$N~Linear_Norm"
    "products-rest $N~CudaProductTests&$N!~Linear_Plain&$N!~Linear_Accumulate&$N!~Linear_Norm"
    "few-rows $N~CudaFewRowsTests"
    "divided-norms $N~CudaDividedNormTests"
    "pairs $N~CudaPairTests"
    "gemm $N~CudaGemmTests"
    "experts $N~CudaExpertTests"
    "sampling $N~CudaSamplingTests"
    "determinism $N~CudaDeterminismTests"
    "pipeline $N~CudaPipelineTests"
    "goldens $N~ModelGoldenTests"
    "log-probabilities $N~LogProbabilityKitTests"
    "half-range $N~HalfRangeTests"
)

# NAME FILTER: one program's tests, into a file of that name.
run_group() {
    timeout "${GROUP_SECONDS:-540}" ./FastGen.Tests --filter "$2" --progress off --no-ansi > "$results/tests-$1.txt" 2>&1
    local code=$?
    # 8: no test fits the filter.
    ((code == 0 || code == 8)) || echo "$1: exit code $code" >> "$results/failed-groups.txt"
}

run_tests() {
    rm -f "$results"/tests*.txt "$results/failed-groups.txt"
    if [[ -n ${TEST_FILTER:-} ]]; then
        run_group chosen "$TEST_FILTER"
    else
        local rest="TestCategory=Cuda" line running=0
        for line in "${groups[@]}"; do
            run_group "${line%% *}" "TestCategory=Cuda&${line#* }" &
            ((++running >= ${JOBS:-$(nproc)})) && { wait -n; ((running--)); }
        done
        wait
        local name
        for name in $(printf '%s\n' "${groups[@]}" | grep -oE '[A-Za-z]+Tests' | sort -u); do rest+="&$N!~$name"; done
        run_group rest "$rest"
    fi
    cat "$results"/tests-*.txt > "$results/tests.txt"
    # Each failed test with its message, without the frames of the stack; then the counts.
    awk '/^Test run summary/{shown = 0} /^failed /{print ""; print; shown = 10; next} /^(passed|skipped) /{shown = 0} /^ *(at |--- End|[0-9]+\) )|^ *$/{next} shown-- > 0' "$results/tests.txt" | head -n 200
    cat "$results/failed-groups.txt" 2>/dev/null && status=1
    local found ran
    found=$(./FastGen.Tests --list-tests --filter "${TEST_FILTER:-TestCategory=Cuda}" --no-ansi | grep -oE 'found [0-9]+ test' | grep -oE '[0-9]+')
    ran=$(grep -E '^  total: ' "$results/tests.txt" | awk '{sum += $2} END {print sum + 0}')
    awk '/^  (total|failed|succeeded|skipped): /{sum[$1] += $2} END {printf "Tests: %d failed, %d succeeded, %d skipped\n", sum["failed:"], sum["succeeded:"], sum["skipped:"]}' "$results/tests.txt"
    if ((ran != ${found:-0})); then
        echo "$ran tests ran of ${found:-none found}"
        status=1
    fi
}

if [[ $what == sanitize ]]; then
    exec bash ./sanitize.sh "$results" "$@"
fi
if [[ $what != benchmarks ]]; then
    run_tests
fi
if [[ $what != tests ]]; then
    timeout 540 ./FastGen.Benchmarks cuda --json "$results/results.json" "$@" 2>&1 | tee "$results/benchmarks.txt" || status=1
fi
exit $status
