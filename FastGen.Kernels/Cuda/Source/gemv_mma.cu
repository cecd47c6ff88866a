// Products of 5 to 16 rows: output = activation(input · weightᵀ + bias), gated or added to the output. Weights go from memory straight into the
// registers of mma.sync: a sum over columns does not mind their order, so a lane's 16 contiguous bytes of a row serve as its part of two
// fragments, and the input is read in the same order. The warps of a CTA split the columns and keep their part of the input in registers; their
// sums meet in shared memory. Long rows: two CTAs of a cluster split the columns once more.
#include "tensorcores.cuh"

#define WARPS SHAPE_A
#define BLOCKS SHAPE_B      // of 32 columns, a warp
#define ROW_TILES SHAPE_C   // of 8 input rows
#define SHORT SHAPE_D       // 8 instead of 16 weight rows a tile
#define THREADS (WARPS * 32)
#define OUTS (GATED || SHORT ? 8 : 16)
#define CHUNKS ((BLOCKS * ROW_TILES + 7) / 8)
#define CHUNK ((BLOCKS + CHUNKS - 1) / CHUNKS)
#define HIGH (GATED || !SHORT)   // the fragment's upper rows are used

struct GemvMmaArguments {
    const T_WEIGHT* input;      // [rows, COLUMNS]
    const T_WEIGHT* weights;
    T_OUT* output;              // [rows, outputs]
    const float* bias;
    int outputs, rows, splits;
};

KERNEL __launch_bounds__(THREADS, 16 / WARPS) gemv_mma(const GemvMmaArguments a) {
    __shared__ __align__(16) float parts[2][WARPS][ROW_TILES * 128];
    extern __shared__ __align__(16) float results[];   // of the tiles, where two CTAs share the columns
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3, rank = blockIdx.x % a.splits, ctas = gridDim.x / a.splits;
    int tiles = (a.outputs + OUTS - 1) / OUTS, first = (int)((i64)tiles * (blockIdx.x / a.splits) / ctas), end = (int)((i64)tiles * (blockIdx.x / a.splits + 1) / ctas);
    int column = (rank * WARPS + warp) * BLOCKS * 32 + t * 8;
    uint4 w[CHUNK][2];
    auto load = [&](int tile, int chunk) {
        int low = min(tile * OUTS + g, a.outputs - 1), high = GATED ? a.outputs + low : min(tile * OUTS + 8 + g, a.outputs - 1);
#pragma unroll
        for (int b = 0; b < CHUNK; b++) {
            int at = column + (chunk * CHUNK + b) * 32;
            bool inside = chunk * CHUNK + b < BLOCKS && at < COLUMNS;
            w[b][0] = inside ? load_stream(a.weights + (i64)low * COLUMNS + at) : make_uint4(0, 0, 0, 0);
            w[b][1] = HIGH && inside ? load_stream(a.weights + (i64)high * COLUMNS + at) : make_uint4(0, 0, 0, 0);
        }
    };
    if (first < end) load(first, 0);
    let_next_start();
    wait_for_previous();
    uint4 x[ROW_TILES][CHUNKS * CHUNK];
#pragma unroll
    for (int r = 0; r < ROW_TILES; r++)
#pragma unroll
        for (int b = 0; b < CHUNKS * CHUNK; b++) {
            int at = column + b * 32;
            x[r][b] = b < BLOCKS && at < COLUMNS && r * 8 + g < a.rows ? *(const uint4*)(a.input + (i64)(r * 8 + g) * COLUMNS + at) : make_uint4(0, 0, 0, 0);
        }
    auto write = [&](int tile, int i, float v, float u) {   // element i of a tile's fragments; u is its counterpart in the upper rows
        int register_ = i & 3, from = (i >> 2) & 31, row = (i >> 7) * 8 + (from & 3) * 2 + (register_ & 1), output = tile * OUTS + (from >> 2) + (register_ & 2) * 4;
        if (row >= a.rows || output >= a.outputs) return;
        if (a.bias) v += a.bias[output];
        v = activate<ACTIVATION>(v);
        if (GATED) v *= a.bias ? u + a.bias[a.outputs + output] : u;
        T_OUT* to = a.output + (i64)row * a.outputs + output;
        to[0] = from_float<T_OUT>(ACCUMULATE ? to_float(to[0]) + v : v);
    };
    for (int tile = first; tile < end; tile++) {
        float sums[ROW_TILES][4] = {};
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
#pragma unroll
            for (int b = 0; b < CHUNK; b++)
#pragma unroll
                for (int r = 0; r < ROW_TILES; r++) {
                    uint4 v = x[r][chunk * CHUNK + b];
                    u32 lower[4] = {w[b][0].x, w[b][1].x, w[b][0].y, w[b][1].y}, upper[4] = {w[b][0].z, w[b][1].z, w[b][0].w, w[b][1].w};
                    Mma<T_WEIGHT>::add(sums[r], lower, v.x, v.y);
                    Mma<T_WEIGHT>::add(sums[r], upper, v.z, v.w);
                }
            if (chunk + 1 < CHUNKS) load(tile, chunk + 1);
            else if (tile + 1 < end) load(tile + 1, 0);
        }
        float(&part)[WARPS][ROW_TILES * 128] = parts[(tile - first) & 1];
#pragma unroll
        for (int r = 0; r < ROW_TILES; r++) *(float4*)&part[warp][r * 128 + lane * 4] = make_float4(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
        __syncthreads();
        for (int i = threadIdx.x; i < ROW_TILES * 128; i += THREADS) {
            if (a.splits == 1 && (GATED || SHORT) && (i & 2)) continue;
            float v = 0.f, u = 0.f;
#pragma unroll
            for (int k = 0; k < WARPS; k++) {
                v += part[k][i];
                if (GATED && a.splits == 1) u += part[k][i + 2];
            }
            if (a.splits == 1) write(tile, i, v, u);
            else results[(tile - first) * ROW_TILES * 128 + i] = v;
        }
    }
#if HOPPER
    if (a.splits == 1) return;
    cluster_sync();
    int count = (end - first) * ROW_TILES * 32;   // groups of four elements
    for (int q = count * rank / 2 + threadIdx.x; q < count * (rank + 1) / 2; q += THREADS) {
        float4 mine = load_remote4(results + q * 4, 0), other = load_remote4(results + q * 4, 1);
        float v[4] = {mine.x + other.x, mine.y + other.y, mine.z + other.z, mine.w + other.w};
        int tile = first + q / (ROW_TILES * 32), i = q % (ROW_TILES * 32) * 4;
        for (int j = 0; j < (GATED || SHORT ? 2 : 4); j++) write(tile, i + j, v[j], v[(j + 2) & 3]);
    }
    cluster_sync();
#endif
}
