// Products of 1 to 4 rows: output = activation(norm(input) · weightᵀ + bias), gated or added to the output. The weights are read once, straight
// into registers; the warps of a CTA split the columns, and each lane keeps its part of the input in registers as F32, so that the inner loop
// touches nothing but weights. The first weights are on their way before the previous kernel ends. An RMS norm's factor
// of a row is applied to the sums, so that nothing waits for it; of a layer norm the warps first exchange their columns' moments.
#include "row_product.cuh"

#define WARPS SHAPE_A      // across the columns
#define VECTORS SHAPE_B    // of 8 columns, a lane and row
#define GROUPS SHAPE_C     // of warps, which take rows in turn
#define UNROLL SHAPE_D     // rows in flight
#define THREADS (WARPS * GROUPS * 32)
#define RMS (NORM == 1)
#define LAYER (NORM == 2)
#define EXACT (WARPS * VECTORS * 256 == COLUMNS)

// Sums N values (a power of two) over a warp; lane l gets the sum of value l · N / 32.
template <int N> DEVICE float warp_sums(float (&v)[N], int lane) {
    int n = N;
#pragma unroll
    for (int o = 16; o; o >>= 1) {
        if (n > 1) {
            n >>= 1;
            bool up = lane & o;
#pragma unroll
            for (int i = 0; i < N / 2; i++) {
                if (i < n) {
                    float send = up ? v[i] : v[i + n], keep = up ? v[i + n] : v[i];
                    v[i] = keep + __shfl_xor_sync(~0u, send, o);
                }
            }
        } else {
            v[0] += __shfl_xor_sync(~0u, v[0], o);
        }
    }
    return v[0];
}

// Column of a row whose columns continue in another matrix.
template <class T> DEVICE const T* joined(const T* first, const T* second, int first_columns, i64 row, int column) {
    return column < first_columns ? first + row * first_columns + column : second + row * (COLUMNS - first_columns) + column - first_columns;
}

#if LAYER
// Normalizes the CTA's rows, of which a lane has its part. Each warp knows the mean of its columns and the squares of the differences; together they
// give those of the row (Chan, Golub, LeVeque 1979) without the cancellation of plain sums of squares.
template <int N> DEVICE void layer_norm(
    float (&x)[ROWS][N], const float (&gamma)[N], const float (&beta)[N], float (&means)[ROWS][WARPS], float (&squares)[ROWS][WARPS], int part, int lane, int column, bool writes, float epsilon) {
    auto columns_of = [](int part) { return min(max(COLUMNS - part * VECTORS * 256, 0), VECTORS * 256); };
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float sum = 0.f, squared = 0.f;
#pragma unroll
        for (int i = 0; i < N; i++) sum += x[r][i];
        float mean = warp_sum(sum) / max(columns_of(part), 1);
#pragma unroll
        for (int i = 0; i < N; i++) if (EXACT || column + i / 8 * 256 < COLUMNS) squared += (x[r][i] - mean) * (x[r][i] - mean);
        squared = warp_sum(squared);
        if (writes && lane == 0) { means[r][part] = mean; squares[r][part] = squared; }
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float mean = 0.f, squared = 0.f;
#pragma unroll
        for (int k = 0; k < WARPS; k++) mean += means[r][k] * columns_of(k);
        mean /= COLUMNS;
#pragma unroll
        for (int k = 0; k < WARPS; k++) squared += squares[r][k] + columns_of(k) * (means[r][k] - mean) * (means[r][k] - mean);
        float factor = rsqrtf(squared / COLUMNS + epsilon);
#pragma unroll
        for (int i = 0; i < N; i++) x[r][i] = (x[r][i] - mean) * factor * gamma[i] + beta[i];
    }
}
#endif

// Three CTAs of the small kind would fit by their registers: room for the next kernel's beside two. More vectors a lane need the registers.
KERNEL __launch_bounds__(THREADS, ROWS == 1 && VECTORS <= 2 && THREADS <= 256 ? 3 : 1) gemv(const RowProductArguments a) {
    extern __shared__ float sums[];   // [rows of this CTA · ROWS][WARPS + 1]
    __shared__ float squares[ROWS][WARPS], means[LAYER ? ROWS : 1][WARPS];   // layer norm: squares of differences from the mean
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, part = warp % WARPS, group = warp / WARPS;
    constexpr int HALVES = GATED ? 2 : 1;
    // An even share of the outputs. Gated: logical row 2i is gate i, 2i + 1 is up i.
    i64 outputs = a.outputs + (BESIDE ? a.second_outputs : 0);
    int first = (int)(outputs * blockIdx.x / gridDim.x) * HALVES, end = (int)(outputs * (blockIdx.x + 1) / gridDim.x) * HALVES;
    int column = part * VECTORS * 256 + lane * 8;
    const T_WEIGHT* base = a.weights + column;
    uint4 w[UNROLL][VECTORS];
    auto load = [&](int row) {
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
            int r = min(row + u, end - 1);
            const T_WEIGHT* p = base + (i64)(GATED ? (r & 1) * a.outputs + (r >> 1) : r) * COLUMNS;
            if (BESIDE && r >= a.outputs) p = a.second_weights + column + (i64)(r - a.outputs) * COLUMNS;
#pragma unroll
            for (int j = 0; j < VECTORS; j++)
                w[u][j] = EXACT || column + j * 256 < COLUMNS ? load_stream(JOINED ? joined(a.weights, a.second_weights, a.first_columns, r, column + j * 256) : p + j * 256) : make_uint4(0, 0, 0, 0);
        }
    };
    int row = first + group * UNROLL;
    if (row < end) load(row);
    float gamma[NORM ? VECTORS * 8 : 1], beta[LAYER ? VECTORS * 8 : 1];
    if (LAYER) for (int i = 0; i < VECTORS * 8; i++) gamma[NORM ? i : 0] = beta[LAYER ? i : 0] = 0.f;
    if (NORM) {
#pragma unroll
        for (int j = 0; j < VECTORS; j++) {
            if (!EXACT && column + j * 256 >= COLUMNS) continue;
            load8(a.gamma + column + j * 256, gamma + (NORM ? j * 8 : 0));
            if (LAYER && a.beta) load8(a.beta + column + j * 256, beta + (LAYER ? j * 8 : 0));
        }
    }
    let_next_start();
    wait_for_previous();

    float x[ROWS][VECTORS * 8];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float sum = 0.f;
#pragma unroll
        for (int j = 0; j < VECTORS; j++) {
            float* v = x[r] + j * 8;
            const T_IN* from = JOINED ? joined(a.input, a.second_input, a.first_columns, min(r, a.rows - 1), column + j * 256) : a.input + (i64)min(r, a.rows - 1) * COLUMNS + column + j * 256;
            if (EXACT || column + j * 256 < COLUMNS) load8(from, v);
            else for (int i = 0; i < 8; i++) v[i] = 0.f;
            if (RMS && (EXACT || column + j * 256 < COLUMNS)) {
#pragma unroll
                for (int i = 0; i < 8; i++) { sum += v[i] * v[i]; v[i] *= gamma[NORM ? j * 8 + i : 0]; }
            }
        }
        if (RMS && group == 0) {
            sum = warp_sum(sum);
            if (lane == 0) squares[r][part] = sum;
        }
    }
#if LAYER
    layer_norm(x, gamma, beta, means, squares, part, lane, column, group == 0, a.epsilon);
#endif

    constexpr int SUMS = UNROLL * ROWS;
    for (; row < end; row += GROUPS * UNROLL) {
        float dots[SUMS];
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
#pragma unroll
            for (int r = 0; r < ROWS; r++) dots[u * ROWS + r] = 0.f;
#pragma unroll
            for (int j = 0; j < VECTORS; j++) {
                float v[8];
                widen8<T_WEIGHT>(w[u][j], v);
#pragma unroll
                for (int r = 0; r < ROWS; r++)
#pragma unroll
                    for (int i = 0; i < 8; i++) dots[u * ROWS + r] = fmaf(v[i], x[r][j * 8 + i], dots[u * ROWS + r]);
            }
        }
        if (row + GROUPS * UNROLL < end) load(row + GROUPS * UNROLL);
        float v = warp_sums<SUMS>(dots, lane);
        int i = lane * SUMS / 32, o = row - first + i / ROWS;
        if (lane % (32 / SUMS) == 0 && o < end - first) sums[(o * ROWS + i % ROWS) * (WARPS + 1) + part] = v;
    }
    __syncthreads();

    auto total = [&](int o, int r) {
        float sum = 0.f;
#pragma unroll
        for (int k = 0; k < WARPS; k++) sum += sums[(o * ROWS + r) * (WARPS + 1) + k];
        if constexpr (RMS) {
            float squared = 0.f;
#pragma unroll
            for (int k = 0; k < WARPS; k++) squared += squares[r][k];
            sum *= rsqrtf(squared / COLUMNS + a.epsilon);
        }
        return sum;
    };
    for (int i = threadIdx.x; i < (end - first) / HALVES * ROWS; i += THREADS) {
        int o = i / ROWS, r = i % ROWS, output = first / HALVES + o;
        if (r >= a.rows) continue;
        float v = total(o * HALVES, r);
        if (BESIDE && output >= a.outputs) {
            output -= a.outputs;
            if (a.second_bias) v += a.second_bias[output];
            a.second_output[(i64)r * a.second_outputs + output] = from_float<T_WEIGHT>(activate<ACTIVATION>(v));
            continue;
        }
        if (a.bias) v += a.bias[output];
        if (JOINED && a.second_bias) v += a.second_bias[output];
        if (!BESIDE) v = activate<ACTIVATION>(v);
        if (GATED) {
            float u = total(o * 2 + 1, r);
            v *= a.bias ? u + a.bias[a.outputs + output] : u;
        }
        T_OUT* to = a.output + (i64)r * a.outputs + output;
        to[0] = from_float<T_OUT>(ACCUMULATE ? to_float(to[0]) + v : v);
    }
}
