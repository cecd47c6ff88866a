// What all kernels of attention take first.
#pragma once
#include "common.cuh"

struct AttentionArguments {
    Batch batch;
    const int* plan;            // counts of sequences with one new token and of tiles; from the fifth int on slot, context, row and rotary base of each of the former
    const float* qkv;
    T_IN* cache;
    T_IN* output;
    const int* block_tables;
    const float* slopes;
    float scale;
    int heads, kv_heads, window, block_size, blocks_per_sequence;

    // A finished query, in the place that it was made in: store_kv.cu.
    DEVICE const T_IN* query(int row, int head) const { return (const T_IN*)(qkv + ((i64)row * (heads + 2 * kv_heads) + head) * HEAD_DIM); }
};
