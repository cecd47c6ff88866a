// What sampling and log probabilities share: a slot's parameters, and keys that order logits.
#pragma once
#include "common.cuh"

struct Sampling {
    float temperature, top_p, min_p, repetition, presence, frequency;
    int top_k, prompt_length, log_probabilities;   // the last: 0 none, 1 the drawn token's, 1 + n the n most likely ones' too
    u64 seed;
    DEVICE bool penalizes() const { return repetition != 1.f || presence != 0.f || frequency != 0.f; }
};

DEVICE u32 ordered(float f) {   // a key that sorts as the value does
    u32 u = __float_as_uint(f);
    return u >> 31 ? ~u : u | 0x80000000u;
}

// A key whose largest is the most likely token, the lowest id among equals.
DEVICE u64 likelihood(float logit, int token) { return (u64)ordered(logit) << 32 | (u32)~token; }
DEVICE int token_of(u64 likelihood) { return (int)~(u32)likelihood; }

DEVICE u64 warp_max64(u64 v) {
    for (int o = 16; o; o >>= 1) { u64 other = __shfl_xor_sync(~0u, v, o); if (other > v) v = other; }
    return v;
}
