// Products of a row with its experts: output = activation(gate) ⊙ up, or plain. As gemv.cu does it for one matrix: weights go straight into registers;
// the warps of a CTA split the columns, and each lane keeps its part of the input in registers as F32. CTAs take even shares of the outputs of all
// visits.
#include "experts.cuh"

#define WARPS SHAPE_A      // across the columns
#define VECTORS SHAPE_B    // of 8 columns, a lane and row
#define UNROLL SHAPE_C     // rows in flight
#define CTAS SHAPE_D       // a multiprocessor
#define THREADS (WARPS * 32)
#define EXACT (WARPS * VECTORS * 256 == COLUMNS)
#define HALVES (GATED ? 2 : 1)

struct GemvArguments {
    const T_WEIGHT* input;      // [rows or visits, COLUMNS]
    const T_WEIGHT* weights;    // [experts, outputs, COLUMNS]; gated: [experts, 2 · outputs, COLUMNS]
    T_OUT* output;              // [visits, outputs]
    const int* starts;
    const int* sources;         // row of the input of each visit; null: the visit itself
    int experts, outputs;
};

KERNEL __launch_bounds__(THREADS, CTAS) experts_gemv(const GemvArguments a) {
    extern __shared__ __align__(16) float sums[];   // [experts + 1] starts, then [rows of this CTA][WARPS + 1]
    int* starts = (int*)sums;
    float* parts = sums + a.experts + 1;
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, column = warp * VECTORS * 256 + lane * 8;
    if (GATED) wait_for_previous();
    let_next_start();   // gated: now that routing has ended, so that the next kernel finds `starts` before it waits
    load_starts(starts, a.starts, a.experts);
    __syncthreads();
    i64 total = (i64)count_units(starts, a.experts, 1, lane) * a.outputs;
    i64 at = total * blockIdx.x / gridDim.x, end = total * (blockIdx.x + 1) / gridDim.x;
    if (at == end) {
        wait_for_previous();
        return;
    }
    ExpertUnit unit;
    unit.seek(starts, a.experts, 1, (int)(at / a.outputs), lane);

    // Logical row 2i of a gated expert is gate i, 2i + 1 is up i.
    uint4 w[UNROLL][VECTORS];
    auto load = [&](int expert, int row, int last) {
        const T_WEIGHT* base = a.weights + (i64)expert * HALVES * a.outputs * COLUMNS + column;
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
            int r = min(row + u, last);
            const T_WEIGHT* p = base + (i64)(GATED ? (r & 1) * a.outputs + (r >> 1) : r) * COLUMNS;
#pragma unroll
            for (int j = 0; j < VECTORS; j++) w[u][j] = EXACT || column + j * 256 < COLUMNS ? load_stream(p + j * 256) : make_uint4(0, 0, 0, 0);
        }
    };
    int from = (int)(at % a.outputs), to = (int)min((i64)a.outputs, from + end - at);   // outputs of the unit
    load(unit.expert, from * HALVES, to * HALVES - 1);
    if (!GATED) wait_for_previous();
    while (true) {
        int expert = unit.expert, visit = unit.first, rows = (to - from) * HALVES;
        const T_WEIGHT* input = a.input + (i64)(a.sources ? a.sources[visit] : visit) * COLUMNS + column;
        float x[VECTORS * 8];
#pragma unroll
        for (int j = 0; j < VECTORS; j++) {
            if (EXACT || column + j * 256 < COLUMNS) load8(input + j * 256, x + j * 8);
            else for (int i = 0; i < 8; i++) x[j * 8 + i] = 0.f;
        }
        at += to - from;
        bool more = at < end;
        if (more) unit.advance(starts, a.experts, 1);
        int next = (int)min((i64)a.outputs, end - at);
        for (int row = 0; row < rows; row += UNROLL) {
            float dots[UNROLL];
#pragma unroll
            for (int u = 0; u < UNROLL; u++) {
                dots[u] = 0.f;
#pragma unroll
                for (int j = 0; j < VECTORS; j++) {
                    float v[8];
                    widen8<T_WEIGHT>(w[u][j], v);
#pragma unroll
                    for (int i = 0; i < 8; i++) dots[u] = fmaf(v[i], x[j * 8 + i], dots[u]);
                }
            }
            if (row + UNROLL < rows) load(expert, from * HALVES + row + UNROLL, to * HALVES - 1);
            else if (more) load(unit.expert, 0, next * HALVES - 1);
#pragma unroll
            for (int u = 0; u < UNROLL; u++) {
                float v = warp_sum(dots[u]);
                if (lane == 0 && row + u < rows) parts[(row + u) * (WARPS + 1) + warp] = v;
            }
        }
        __syncthreads();
        auto sum = [&](int row) {
            float v = 0.f;
            for (int k = 0; k < WARPS; k++) v += parts[row * (WARPS + 1) + k];
            return v;
        };
        for (int i = threadIdx.x; i < to - from; i += THREADS) {
            float v = sum(i * HALVES);
            if (GATED) v = activate<ACTIVATION>(v) * sum(i * 2 + 1);
            a.output[(i64)visit * a.outputs + from + i] = from_float<T_OUT>(v);
        }
        if (!more) break;
        from = 0;
        to = next;
        __syncthreads();
    }
}
