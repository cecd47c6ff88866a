// One warpgroup's products on tensor cores: 16-bit operands, F32 sums. Needs sm_90a.
#pragma once
#include "tensorcores.cuh"

// Operands %0 … of an instruction: a lane's sums, N / 2 of them.
#define REGISTERS_4 "%0, %1, %2, %3"
#define REGISTERS_8 REGISTERS_4 ", %4, %5, %6, %7"
#define REGISTERS_16 REGISTERS_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define REGISTERS_32 REGISTERS_16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define REGISTERS_40 REGISTERS_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define REGISTERS_48 REGISTERS_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define REGISTERS_64 REGISTERS_48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define REGISTERS_96 REGISTERS_64 \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
    ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define REGISTERS_128 REGISTERS_96 \
    ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
    ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SUMS_4(access, i) access(d[i]), access(d[(i) + 1]), access(d[(i) + 2]), access(d[(i) + 3])
#define SUMS_8(access, i) SUMS_4(access, i), SUMS_4(access, (i) + 4)
#define SUMS_16(access, i) SUMS_8(access, i), SUMS_8(access, (i) + 8)
#define SUMS_32(access, i) SUMS_16(access, i), SUMS_16(access, (i) + 16)
#define SUMS_40(access, i) SUMS_32(access, i), SUMS_8(access, (i) + 32)
#define SUMS_48(access, i) SUMS_32(access, i), SUMS_16(access, (i) + 32)
#define SUMS_64(access, i) SUMS_32(access, i), SUMS_32(access, (i) + 32)
#define SUMS_128(access, i) SUMS_64(access, i), SUMS_64(access, (i) + 64)

// d[64 × N] += (or, to start, =) a[64 × 16] · b[N × 16]ᵀ, both from shared memory. R = N / 2 sums a lane; A and B number the operands after them.
template <class T, int N> struct Wgmma;
#define WGMMA_INSTRUCTION(T, N, R, A, B, first) "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #T "." #T " {" REGISTERS_##R "}, %" #A ", %" #B ", " first ", 1, 1, 0, 0;"
#define WGMMA(T, N, R, A, B) \
    template <> struct Wgmma<T, N> { \
        static DEVICE void start(float (&d)[R], u64 a, u64 b) { asm volatile(WGMMA_INSTRUCTION(T, N, R, A, B, "0") : SUMS_##R("=f", 0) : "l"(a), "l"(b)); } \
        static DEVICE void add(float (&d)[R], u64 a, u64 b) { asm volatile(WGMMA_INSTRUCTION(T, N, R, A, B, "1") : SUMS_##R("+f", 0) : "l"(a), "l"(b)); } \
    };
#define WGMMA_BOTH(N, R, A, B) WGMMA(bf16, N, R, A, B) WGMMA(f16, N, R, A, B)
WGMMA_BOTH(8, 4, 4, 5)
WGMMA_BOTH(16, 8, 8, 9)
WGMMA_BOTH(32, 16, 16, 17)
WGMMA_BOTH(64, 32, 32, 33)
WGMMA_BOTH(128, 64, 64, 65)
WGMMA_BOTH(256, 128, 128, 129)

// The same with a in registers and b[16 × N] as it lies in memory, N along the rows: d[64 × N] += a[64 × 16] · b.
template <class T, int N> struct WgmmaHeld;
#define WGMMA_HELD(T, N, R, A0, A1, A2, A3, B) \
    template <> struct WgmmaHeld<T, N> { \
        static DEVICE void add(float (&d)[R], const u32 (&a)[4], u64 b) { \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #T "." #T " {" REGISTERS_##R "}, {%" #A0 ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #B ", 1, 1, 1, 1;" \
                : SUMS_##R("+f", 0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)); \
        } \
    };
#define WGMMA_HELD_BOTH(N, R, A0, A1, A2, A3, B) WGMMA_HELD(bf16, N, R, A0, A1, A2, A3, B) WGMMA_HELD(f16, N, R, A0, A1, A2, A3, B)
WGMMA_HELD_BOTH(64, 32, 32, 33, 34, 35, 36)
WGMMA_HELD_BOTH(80, 40, 40, 41, 42, 43, 44)
WGMMA_HELD_BOTH(96, 48, 48, 49, 50, 51, 52)
WGMMA_HELD_BOTH(128, 64, 64, 65, 66, 67, 68)
WGMMA_HELD_BOTH(256, 128, 128, 129, 130, 131, 132)

// K-major operand with 128-byte swizzle, 1024 bytes between groups of 8 rows.
DEVICE u64 wgmma_operand(u32 address) { return (u64)((address & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62; }
DEVICE void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory"); }
DEVICE void wgmma_finish() { wgmma_commit(); wgmma_wait(); }
// Operand whose rows are k, with 128-byte swizzle: 1024 bytes between groups of 8 rows, `panel` bytes between panels of 64 columns.
DEVICE u64 wgmma_operand_by_rows(u32 address, u32 panel) { return (u64)((address & 0x3ffff) >> 4) | (u64)(panel >> 4) << 16 | 64ull << 32 | 1ull << 62; }
// Until all but the last N groups are done.
template <int N> DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }
// Keeps the compiler from reading sums before the wait above.
template <int N> DEVICE void wgmma_settle(float (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i]) :: "memory");
}
template <int N> DEVICE void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(N)); }
template <int N> DEVICE void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(N)); }
DEVICE void store_zeros(u32 address) { asm volatile("st.shared.v4.u32 [%0], {0, 0, 0, 0};" :: "r"(address) : "memory"); }

// A lane's part of one row of sums, `word(i)` for every block of 8 columns: whole blocks a lane, where four are together. `place(i)` is null where
// nothing is to be stored.
template <int BLOCKS, class Word, class Place> DEVICE void store_row(Word word, Place place, int t) {
#pragma unroll
    for (int i = 0; i + 4 <= BLOCKS; i += 4) {
        u32 quad[4] = {word(i), word(i + 1), word(i + 2), word(i + 3)};
        transpose_quad(quad, t);
        if (auto* p = place(i + t)) *(uint4*)p = make_uint4(quad[0], quad[1], quad[2], quad[3]);
    }
#pragma unroll
    for (int i = BLOCKS / 4 * 4; i < BLOCKS; i++) if (auto* p = place(i)) *((u32*)p + t) = word(i);
}
