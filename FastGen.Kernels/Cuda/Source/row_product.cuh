// What the products of few rows take: gemv.cu and few_rows.cu.
#pragma once
#include "common.cuh"

struct RowProductArguments {
    const T_IN* input;          // [rows, COLUMNS]
    const T_WEIGHT* weights;    // [outputs, COLUMNS]; gated: [2 · outputs, COLUMNS]
    T_OUT* output;              // [rows, outputs]
    const float* gamma;
    const float* beta;          // null: zeros
    const float* bias;
    float epsilon;
    int outputs, rows;          // rows: up to what the kernel was compiled for
    int second_outputs;         // 0 unless BESIDE
    int first_columns;          // JOINED: of the input; the second's are the rest of COLUMNS
    const T_IN* second_input;   // JOINED
    const T_WEIGHT* second_weights;
    const float* second_bias;
    T_WEIGHT* second_output;    // BESIDE
};
