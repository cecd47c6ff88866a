#!/usr/bin/env bash
# Runs the tests that need no GPU as a program for 64-bit Arm under Linux, emulated by QEMU on other machines.
# usage: eng/arm64/tests.sh [FILTER]      (default: all of them, a quarter of an hour on two emulated cores)
# Debian's packages for emulation: qemu-user-static and, after `dpkg --add-architecture arm64`, libc6:arm64 libstdc++6:arm64 zlib1g:arm64 libssl3:arm64.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=artifacts/arm64
# The lock files in the repository name no runtime; this restore keeps its own.
dotnet publish FastGen.Tests -c Release -r linux-arm64 --self-contained -v q --nologo \
    -p:NuGetLockFilePath=obj/arm64.lock.json -p:InvariantGlobalization=true -p:DebugType=none -o "$program"
cp -r models "$program/"
emulator=()
[[ $(uname -m) == aarch64 ]] || emulator=(qemu-aarch64-static)
# Memory that is mapped twice, for writing and for execution, is what the emulator does not have.
export DOTNET_EnableWriteXorExecute=0
cd "$program"
exec "${emulator[@]}" ./FastGen.Tests --filter "TestCategory!=Cuda${1:+&($1)}" --progress off --no-ansi
