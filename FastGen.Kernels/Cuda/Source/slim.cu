// Products of 5 to 16 rows: output = activation(norm(input) · weightᵀ + bias), gated or added to the output. As gemv.cu reads them, weights go
// straight into registers, once; tensor cores multiply 16 weight rows by ROWS rows of the input. The warps of a CTA split the columns, and each
// keeps its part of the input as operands in registers. Columns are taken in an order of their own, so that every lane's 16 bytes are two
// operands as they come: of 32 columns lane t of four has 8 t to 8 t + 7, the same for weights and input. The first weights are on their way
// before the previous kernel ends. The norm's factor of a row is applied to the sums.
#include "tensorcores.cuh"

#define WARPS SHAPE_A      // across the columns
#define CHUNKS SHAPE_B     // of 32 columns, a warp
#define AHEAD SHAPE_C      // chunks of 16 weight rows in flight: divides CHUNKS or is a multiple of it
#define HOLD SHAPE_D       // tiles of 16 weight rows between two meetings of the warps
#define THREADS (WARPS * 32)
#define EXACT (WARPS * CHUNKS * 32 == COLUMNS)
#define WIDTH (ROWS / 8)   // operands of 8 input rows
#define OUTS (GATED ? 8 : 16)
#define TILES_A_ROUND (AHEAD > CHUNKS ? AHEAD / CHUNKS : 1)

struct SlimArguments {
    const T_IN* input;          // [rows, COLUMNS]
    const T_WEIGHT* weights;    // [outputs, COLUMNS]; gated: [2 · outputs, COLUMNS]
    T_OUT* output;              // [rows, outputs]
    const float* gamma;
    const float* bias;
    float epsilon;
    int outputs, rows;          // rows: up to ROWS
};

KERNEL __launch_bounds__(THREADS, 16 / WARPS) slim(const SlimArguments a) {
    extern __shared__ __align__(16) float4 parts[];   // [2][HOLD][WIDTH][WARPS][32]
    __shared__ float squares[WARPS][ROWS];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
    int first = (int)((i64)a.outputs * blockIdx.x / gridDim.x), end = (int)((i64)a.outputs * (blockIdx.x + 1) / gridDim.x);
    int tiles = (end - first + OUTS - 1) / OUTS, column = warp * CHUNKS * 32 + t * 8;
    uint4 w[AHEAD][2];
    // The lane's two weight rows of a tile. Gated: the same output's gate and up.
    auto load = [&](int tile, int c, uint4 (&to)[2]) {
        int output = first + tile * OUTS + g;
        const T_WEIGHT* p = a.weights + (i64)output * COLUMNS + column + c * 32;
        bool inside = EXACT || column + c * 32 < COLUMNS;
        to[0] = inside && output < end ? load_stream(p) : make_uint4(0, 0, 0, 0);
        if (GATED) to[1] = inside && output < end ? load_stream(p + (i64)a.outputs * COLUMNS) : make_uint4(0, 0, 0, 0);
        else to[1] = inside && output + 8 < end ? load_stream(p + 8 * COLUMNS) : make_uint4(0, 0, 0, 0);
    };
#pragma unroll
    for (int q = 0; q < AHEAD; q++) load(q / CHUNKS, q % CHUNKS, w[q]);
    let_next_start();
    wait_for_previous();

    uint4 x[CHUNKS][WIDTH];
#pragma unroll
    for (int r = 0; r < WIDTH; r++) {
        int row = r * 8 + g;
        const T_IN* from = a.input + (i64)min(row, a.rows - 1) * COLUMNS + column;
        float sum = 0.f;
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            if (row >= a.rows || (!EXACT && column + c * 32 >= COLUMNS)) {
                x[c][r] = make_uint4(0, 0, 0, 0);
                continue;
            }
            if constexpr (!NORM && sizeof(T_IN) == 2) {
                x[c][r] = *(const uint4*)(from + c * 32);
                continue;
            }
            float v[8];
            load8(from + c * 32, v);
            if (NORM) {
                float gamma[8];
                load8(a.gamma + column + c * 32, gamma);
                for (int i = 0; i < 8; i++) { sum += v[i] * v[i]; v[i] *= gamma[i]; }
            }
            x[c][r] = make_uint4(Pair<T_WEIGHT>::of(v[0], v[1]), Pair<T_WEIGHT>::of(v[2], v[3]), Pair<T_WEIGHT>::of(v[4], v[5]), Pair<T_WEIGHT>::of(v[6], v[7]));
        }
        if (NORM) {
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            if (t == 0) squares[warp][row] = sum;
        }
    }

    for (int begin = 0, half = 0; begin < tiles; begin += HOLD, half ^= 1) {
        float4* here = parts + half * HOLD * WIDTH * THREADS;
        int stop = min(begin + HOLD, tiles);
        for (int base = begin; base < stop; base += TILES_A_ROUND) {
#pragma unroll
            for (int m = 0; m < TILES_A_ROUND; m++) {
                int tile = base + m;
                if (tile >= stop) break;
                float d[WIDTH][4];
#pragma unroll
                for (int r = 0; r < WIDTH; r++) d[r][0] = d[r][1] = d[r][2] = d[r][3] = 0.f;
#pragma unroll
                for (int c = 0; c < CHUNKS; c++) {
                    constexpr int ROUND = TILES_A_ROUND * CHUNKS;
                    uint4 (&v)[2] = w[(m * CHUNKS + c) % AHEAD];
                    u32 low[4] = {v[0].x, v[1].x, v[0].y, v[1].y}, high[4] = {v[0].z, v[1].z, v[0].w, v[1].w};
#pragma unroll
                    for (int r = 0; r < WIDTH; r++) {
                        Mma<T_WEIGHT>::add(d[r], low, x[c][r].x, x[c][r].y);
                        Mma<T_WEIGHT>::add(d[r], high, x[c][r].z, x[c][r].w);
                    }
                    static_assert(ROUND % AHEAD == 0, "a chunk's registers are the same in every round");
                    load(tile + (c + AHEAD) / CHUNKS, (c + AHEAD) % CHUNKS, v);
                }
#pragma unroll
                for (int r = 0; r < WIDTH; r++) here[((tile - begin) * WIDTH + r) * THREADS + threadIdx.x] = make_float4(d[r][0], d[r][1], d[r][2], d[r][3]);
            }
        }
        // Each of the first threads adds up one lane's sums over the warps: rows g and g + 8 of a tile, input rows 2 t and 2 t + 1.
        auto finish = [&](int item, bool fetch, float (&old)[4]) {
            int tile = begin + item / (32 * WIDTH), r = item / 32 % WIDTH, row = r * 8 + 2 * t, output = first + tile * OUTS + g;
            float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
            float factor[2] = {1.f, 1.f};
            if (!fetch) {
#pragma unroll
                for (int k = 0; k < WARPS; k++) {
                    float4 part = here[(item / 32) * THREADS + k * 32 + lane];
                    sum.x += part.x; sum.y += part.y; sum.z += part.z; sum.w += part.w;
                }
                if (NORM) {
                    for (int i = 0; i < 2; i++) {
                        float total = 0.f;
                        for (int k = 0; k < WARPS; k++) total += squares[k][row + i];
                        factor[i] = rsqrtf(total / COLUMNS + a.epsilon);
                    }
                }
            }
            float v[2][2] = {{sum.x * factor[0], sum.y * factor[1]}, {sum.z * factor[0], sum.w * factor[1]}};   // [weight row][input row]
#pragma unroll
            for (int h = 0; h < (GATED ? 1 : 2); h++) {
                int o = output + 8 * h;
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    if (o >= end || row + i >= a.rows) continue;
                    T_OUT* to = a.output + (i64)(row + i) * a.outputs + o;
                    if (fetch) { old[2 * h + i] = to_float(to[0]); continue; }
                    float y = v[h][i];
                    if (a.bias) y += a.bias[o];
                    y = activate<ACTIVATION>(y);
                    if (GATED) y *= a.bias ? v[1][i] + a.bias[a.outputs + o] : v[1][i];
                    to[0] = from_float<T_OUT>(ACCUMULATE ? old[2 * h + i] + y : y);
                }
            }
        };
        int items = (stop - begin) * WIDTH * 32;
        float old[4] = {};
        if (ACCUMULATE && threadIdx.x < items) finish(threadIdx.x, true, old);
        __syncthreads();
        for (int item = threadIdx.x; item < items; item += THREADS) {
            if (ACCUMULATE && item != threadIdx.x) finish(item, true, old);
            finish(item, false, old);
        }
    }
}
