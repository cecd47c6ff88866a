// What sampling and log probabilities share: a slot's parameters, and keys that order logits.
#pragma once
#include "common.cuh"

struct Sampling {
    float temperature, top_p, min_p, repetition, presence, frequency;
    int top_k, prompt_length, log_probabilities;   // the last: 0 none, 1 the drawn token's, 1 + n the n most likely ones' too
    u64 seed;
    DEVICE bool penalizes() const { return repetition != 1.f || presence != 0.f || frequency != 0.f; }
};

DEVICE u32 ordered(float f) {   // a key that sorts as the value does; adding zero makes -0 equal to 0
    u32 u = __float_as_uint(f + 0.f);
    return u >> 31 ? ~u : u | 0x80000000u;
}

// A key whose largest is the most likely token, the lowest id among equals.
DEVICE u64 likelihood(float logit, int token) { return (u64)ordered(logit) << 32 | (u32)~token; }
DEVICE int token_of(u64 likelihood) { return (int)~(u32)likelihood; }

DEVICE u64 warp_max64(u64 v) {
    for (int o = 16; o; o >>= 1) { u64 other = __shfl_xor_sync(~0u, v, o); if (other > v) v = other; }
    return v;
}

// Logits that a thread of a CTA reads at once: a row of them is aligned where the vocabulary is a multiple of 4.
DEVICE int vector_width(int vocabulary) { return vocabulary % 4 == 0 ? 4 : 1; }

// f(logit, token) of every THREADS-th vector of a row, over the CTA of all of them.
template <int THREADS, class F> DEVICE void for_each_logit(const float* logits, int vocabulary, F f) {
    if (vector_width(vocabulary) == 4) {
#pragma unroll 2
        for (int i = threadIdx.x * 4; i < vocabulary; i += 4 * THREADS) {
            float4 v = *(const float4*)(logits + i);
            f(v.x, i); f(v.y, i + 1); f(v.z, i + 2); f(v.w, i + 3);
        }
    } else {
#pragma unroll 4
        for (int i = threadIdx.x; i < vocabulary; i += THREADS) f(logits[i], i);
    }
}

// f(logit, token) of the tokens [first, end) in order, 32 at a time over the lanes of a warp, as long as f says so; -INFINITY past the end.
template <class F> DEVICE void walk_logits(const float* logits, int first, int end, F f) {
    for (int at = first + (threadIdx.x & 31); at - (int)(threadIdx.x & 31) < end; at += 128) {
        float v[4];
#pragma unroll
        for (int u = 0; u < 4; u++) v[u] = at + 32 * u < end ? logits[at + 32 * u] : -INFINITY;
#pragma unroll
        for (int u = 0; u < 4; u++) if (!f(v[u], at + 32 * u)) return;
    }
}
