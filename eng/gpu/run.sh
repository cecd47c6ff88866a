#!/usr/bin/env bash
# Runs the CUDA tests and benchmarks of an unpacked archive of publish.sh on a GPU host; no SDK is needed.
# usage: run.sh [RESULTS_FOLDER] [tests|benchmarks|sanitize|all] [benchmark arguments…]      (sanitize: sanitize.sh instead of plain tests)
# TEST_FILTER in the environment chooses other tests than all of category Cuda.
# Writes tests.txt, benchmarks.txt and results.json (device, driver, date, benchmark lines) into the folder and ends with the result table.
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
if [[ $what == sanitize ]]; then
    exec bash ./sanitize.sh "$results" "$@"
fi
if [[ $what != benchmarks ]]; then
    timeout 540 ./FastGen.Tests --filter "${TEST_FILTER:-TestCategory=Cuda}" --no-progress --no-ansi > "$results/tests.txt" 2>&1 || status=1
    # Each failed test with its message, without the frames of the stack; then the counts.
    awk '/^Test run summary/{exit} /^failed /{print ""; print; shown = 10; next} /^(passed|skipped) /{shown = 0} /^ *(at |--- End|[0-9]+\) )|^ *$/{next} shown-- > 0' "$results/tests.txt" | head -n 200
    sed -n '/^Test run summary/,$p' "$results/tests.txt"
fi
if [[ $what != tests ]]; then
    timeout 540 ./FastGen.Benchmarks cuda --json "$results/results.json" "$@" 2>&1 | tee "$results/benchmarks.txt" || status=1
fi
exit $status
