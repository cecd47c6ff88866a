#!/usr/bin/env bash
# Publishes the tests and the benchmarks self-contained for linux-x64 as one archive for a GPU host without an SDK.
# usage: eng/gpu/publish.sh [ARCHIVE]      (default: artifacts/gpu/fastgen-gpu.tar.xz)
set -euo pipefail
cd "$(dirname "$0")/../.."
archive=${1:-artifacts/gpu/fastgen-gpu.tar.xz}
limit=$((60 * 1024 * 1024))
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
for project in FastGen.Tests FastGen.Benchmarks; do
    # The lock files in the repository name no runtime; this restore keeps its own.
    dotnet publish "$project" -c Release -r linux-x64 --self-contained -v q --nologo \
        -p:NuGetLockFilePath=obj/gpu.lock.json -p:InvariantGlobalization=true -p:DebugType=none -p:SatelliteResourceLanguages=en -o "$stage/fastgen-gpu"
done
# Peers that only CPU benchmarks load.
find "$stage" \( -name 'libtorch*' -o -name 'libc10*' -o -name 'libgomp*' -o -name '*.pdb' -o -name '*.xml' -o -name 'libSkiaSharp*' -o -name 'libHarfBuzzSharp*' \) -delete
cp -r eng/gpu/run.sh eng/gpu/sanitize.sh eng/gpu/compare.sh eng/gpu/peers "$stage/fastgen-gpu/"
find "$stage/fastgen-gpu/peers" -name __pycache__ -prune -exec rm -rf {} +
mkdir -p "$(dirname "$archive")"
tar -C "$stage" -cf - fastgen-gpu | xz -T0 -4 > "$archive"
size=$(stat -c %s "$archive")
echo "$archive: $((size / 1024 / 1024)) MiB"
if ((size > limit)); then
    echo "the archive is larger than $((limit / 1024 / 1024)) MiB" >&2
    exit 1
fi
