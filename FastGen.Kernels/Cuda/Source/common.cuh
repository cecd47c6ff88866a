// Shared by all kernels: storage types, loads and stores of several values, sums over warps and CTAs, programmatic launch.
// Needs no header of the toolkit. Constants such as T_IN (a storage type) come as macros from the compiler's command line.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__ void

#define LOG2_E 1.44269504f

// Two products in one kernel: BESIDE, of one input, each with its output, the activation after the second; JOINED, of two inputs, added to one output.
#define BESIDE (SECOND == 1)
#define JOINED (SECOND == 2)

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

struct bf16 { u16 bits; };
struct f16 { u16 bits; };

// ---- Conversions: to the nearest, ties to even. What leaves the range of F16 becomes its largest value, with instructions that cost no more;
// PTX has them since CUDA 12.1.

#if __CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ >= 1201
#define TO_F16 "cvt.rn.satfinite.f16"
#else
#define TO_F16 "cvt.rn.f16"
#endif

DEVICE float to_float(float v) { return v; }
DEVICE float to_float(bf16 v) { return __uint_as_float((u32)v.bits << 16); }
DEVICE float to_float(f16 v) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v.bits)); return f; }

template <class T> struct Storage;
template <> struct Storage<float> { static DEVICE float of(float f) { return f; } };
template <> struct Storage<bf16> { static DEVICE bf16 of(float f) { bf16 v; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(v.bits) : "f"(f)); return v; } };
template <> struct Storage<f16> { static DEVICE f16 of(float f) { f16 v; asm(TO_F16 ".f32 %0, %1;" : "=h"(v.bits) : "f"(f)); return v; } };
template <class T> DEVICE T from_float(float f) { return Storage<T>::of(f); }

template <class T> struct Pair;   // two 16-bit values in a word
template <> struct Pair<bf16> {
    static DEVICE float low(u32 v) { return __uint_as_float(v << 16); }
    static DEVICE float high(u32 v) { return __uint_as_float(v & 0xffff0000u); }
    static DEVICE u32 of(float low, float high) { u32 r; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low)); return r; }
};
template <> struct Pair<f16> {
    static DEVICE float low(u32 v) { f16 h; h.bits = (u16)v; return to_float(h); }
    static DEVICE float high(u32 v) { f16 h; h.bits = (u16)(v >> 16); return to_float(h); }
    static DEVICE u32 of(float low, float high) { u32 r; asm(TO_F16 "x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low)); return r; }
};

// Eight values in 16 (or 32) bytes.
DEVICE void load8(const float* p, float* v) {
    float4 a = *(const float4*)p, b = *(const float4*)(p + 4);
    v[0] = a.x; v[1] = a.y; v[2] = a.z; v[3] = a.w; v[4] = b.x; v[5] = b.y; v[6] = b.z; v[7] = b.w;
}
template <class T> DEVICE void widen8(uint4 a, float* v) {
    v[0] = Pair<T>::low(a.x); v[1] = Pair<T>::high(a.x); v[2] = Pair<T>::low(a.y); v[3] = Pair<T>::high(a.y);
    v[4] = Pair<T>::low(a.z); v[5] = Pair<T>::high(a.z); v[6] = Pair<T>::low(a.w); v[7] = Pair<T>::high(a.w);
}
template <class T> DEVICE void load8(const T* p, float* v) { widen8<T>(*(const uint4*)p, v); }
DEVICE void store8(float* p, const float* v) {
    *(float4*)p = make_float4(v[0], v[1], v[2], v[3]);
    *(float4*)(p + 4) = make_float4(v[4], v[5], v[6], v[7]);
}
template <class T> DEVICE void store8(T* p, const float* v) {
    *(uint4*)p = make_uint4(Pair<T>::of(v[0], v[1]), Pair<T>::of(v[2], v[3]), Pair<T>::of(v[4], v[5]), Pair<T>::of(v[6], v[7]));
}

// Weights: read once, past the first-level cache.
DEVICE uint4 load_stream(const void* p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}

DEVICE void prefetch_line(const void* p) { asm volatile("prefetch.global.L2 [%0];" :: "l"(p)); }

// ---- Programmatic launch: a kernel lets its successor start at once, and waits before it touches what another kernel of the step does.

DEVICE void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
DEVICE void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// ---- Reductions

DEVICE float warp_sum(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    return v;
}
DEVICE float warp_max(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, o));
    return v;
}
// Sum over the CTA, known to all of its threads. `parts` holds 32 values.
DEVICE float block_sum(float v, float* parts) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = (blockDim.x + 31) >> 5;
    v = warp_sum(v);
    __syncthreads();
    if (lane == 0) parts[warp] = v;
    __syncthreads();
    return warp_sum(lane < warps ? parts[lane] : 0.f);
}

// ---- Activations, numbered as FastGen.Compute.Activation

template <int A> DEVICE float activate(float x) {
    if (A == 1) return fmaxf(x, 0.f);
    if (A == 2) return 0.5f * x * (1.f + erff(x * 0.70710678118654752f));
    if (A == 3) return 0.5f * x * (1.f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    if (A == 4) return x / (1.f + expf(-x));
    return x;
}

// ---- The step's metadata on the device: RaggedBatch.Buffer, with the offsets of RaggedBatchLayout

struct Batch {
    const int* data;
    int tokens, positions, row_sequences, kv_slots, sequence_slots, starts, context_lengths, rotary_bases;
    int logit_rows, logit_slots, logit_positions, suppressed_starts;
    DEVICE int token_count() const { return data[0]; }
    DEVICE int sequence_count() const { return data[1]; }
    DEVICE int logit_row_count() const { return data[2]; }
};

// ---- The cache: pages of up to 16 tokens, each [kv head][key, value][panel][token][column], a panel being 128 bytes of a token's row. In a
// panel the 16-byte chunks are stored XORed with token % 8: what tensor cores read from shared memory without bank conflicts, so that a page is
// copied as it is. Rows that are no multiple of 128 bytes lie as they are, [token][column].

template <class T, int D> DEVICE int cached_place(int page_tokens, int token, int column) {
    constexpr int PER = 16 / sizeof(T), PANEL = 128 / sizeof(T);
    if ((D * sizeof(T)) % 128 != 0) return token * D + column;
    return column / PANEL * page_tokens * PANEL + token * PANEL + (((column % PANEL / PER) ^ (token & 7)) * PER) + column % PER;
}
