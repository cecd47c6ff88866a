// What the products of few rows take: gemv.cu and few_rows.cu.
#pragma once
#include "common.cuh"

struct RowProductArguments {
    const T_IN* input;          // [rows, COLUMNS]
    const T_WEIGHT* weights;    // [outputs, COLUMNS]; gated: [2 · outputs, COLUMNS]
    T_OUT* output;              // [rows, outputs]
    const float* gamma;
    const float* bias;
    float epsilon;
    int outputs, rows;          // rows: up to what the kernel was compiled for
};
