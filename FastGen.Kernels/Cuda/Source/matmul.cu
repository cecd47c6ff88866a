// Products of any shape and type with plain FP32 arithmetic: where cuBLASLt has no algorithm, and grouped by expert.
#include "common.cuh"

#define TILE 64
#define DEPTH 16

struct MatmulArguments {
    const T_IN* input;          // [rows, columns]
    const T_WEIGHT* weights;    // [outputs, columns], or one such matrix an expert
    T_OUT* output;              // [rows, outputs]
    int rows, columns, outputs;
    // Grouped (GROUPED): row i of the product reads input row sources[i] (i itself when null); experts own the rows
    // [starts[e], starts[e + 1]), and tiles never cross experts.
    const int* starts;
    const int* sources;
    int experts;
    int accumulate;
};

KERNEL __launch_bounds__(256) matmul(const MatmulArguments a) {
    __shared__ float x[DEPTH][TILE + 4], w[DEPTH][TILE + 4];
    let_next_start();
    wait_for_previous();
    int first = blockIdx.y * TILE, end = a.rows, column0 = blockIdx.x * TILE;
    const T_WEIGHT* weights = a.weights;
#if GROUPED
    int tile = blockIdx.y, expert = 0;
    for (; expert < a.experts; expert++) {
        int tiles = (a.starts[expert + 1] - a.starts[expert] + TILE - 1) / TILE;
        if (tile < tiles) break;
        tile -= tiles;
    }
    if (expert == a.experts) return;
    first = a.starts[expert] + tile * TILE;
    end = a.starts[expert + 1];
    weights += (i64)expert * a.outputs * a.columns;
#endif
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float sum[4][4] = {};
    for (int k0 = 0; k0 < a.columns; k0 += DEPTH) {
        for (int i = threadIdx.x; i < TILE * DEPTH; i += 256) {
            int r = i / DEPTH, k = i % DEPTH, row = first + r, column = column0 + r;
            bool inside = k0 + k < a.columns;
            float xv = 0.f;
            if (inside && row < end) {
#if GROUPED
                int source = a.sources ? a.sources[row] : row;
#else
                int source = row;
#endif
                xv = to_float(a.input[(i64)source * a.columns + k0 + k]);
            }
            x[k][r] = xv;
            w[k][r] = inside && column < a.outputs ? to_float(weights[(i64)column * a.columns + k0 + k]) : 0.f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float4 xv = *(float4*)&x[k][ty * 4], wv = *(float4*)&w[k][tx * 4];
            float xs[4] = {xv.x, xv.y, xv.z, xv.w}, ws[4] = {wv.x, wv.y, wv.z, wv.w};
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] = fmaf(xs[i], ws[j], sum[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int row = first + ty * 4 + i;
        if (row >= end) continue;
        for (int j = 0; j < 4; j++) {
            int column = column0 + tx * 4 + j;
            if (column >= a.outputs) continue;
            T_OUT* to = a.output + (i64)row * a.outputs + column;
            to[0] = from_float<T_OUT>(a.accumulate ? to_float(to[0]) + sum[i][j] : sum[i][j]);
        }
    }
}
