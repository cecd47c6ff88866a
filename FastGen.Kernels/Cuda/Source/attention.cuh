// What all kernels of attention take first.
#pragma once
#include "common.cuh"

struct AttentionArguments {
    Batch batch;
    const int* plan;            // counts of sequences with one new token and of tiles, then those sequences
    const T_IN* qkv;
    const T_IN* cache;
    T_IN* output;
    const int* block_tables;
    const float* slopes;
    float scale;
    int heads, kv_heads, window, block_size, blocks_per_sequence;
};
