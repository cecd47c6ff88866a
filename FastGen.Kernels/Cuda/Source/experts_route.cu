// Routing of a sparse mixture of experts without a round trip to the host: norm, router logits and choice in one kernel, whose last CTA sorts the
// visits (one row at one expert) by expert.
#include "common.cuh"

#define WARPS 16
#define THREADS (WARPS * 32)

struct RouteArguments {
    const T_IN* input;          // [rows, columns]
    const T_WEIGHT* router;     // [experts, columns]
    const float* router_bias;
    const float* gamma;
    const float* beta;
    T_OUT* normed;              // [rows, columns], the experts' input; null where that is `input` itself
    float* probabilities;       // [rows, top]
    int* chosen;                // [rows, top]
    int* starts;                // [experts + 1] where each expert's visits begin
    int* sources;               // [rows · top] the visiting row, in order of expert
    int* places;                // [rows · top] where each choice went; -1 for rows that are none
    u32* arrived;               // zero between launches
    const int* row_count;       // rows that are no padding; null: all
    float epsilon;
    int rows, columns, experts, top, normalize;
};

// Normalizes a row in F32 into shared memory and, rounded, into the experts' input. A thread works on its own columns throughout.
DEVICE void norm_row(const RouteArguments& a, int row, float* x, float* parts) {
    const T_IN* input = a.input + (i64)row * a.columns;
    bool wide = a.columns % 8 == 0;
    int step = wide ? 8 : 1;
    float sum = 0.f, mean = 0.f, squares = 0.f, scale = 1.f;
    for (int i = threadIdx.x * step; i < a.columns; i += THREADS * step) {
        if (wide) load8(input + i, x + i);
        else x[i] = to_float(input[i]);
        for (int j = 0; j < step; j++) sum += x[i + j];
    }
    if (NORM == 2) mean = block_sum(sum, parts) / a.columns;
    if (NORM) {
        for (int i = threadIdx.x * step; i < a.columns; i += THREADS * step) for (int j = 0; j < step; j++) { float d = x[i + j] - mean; squares += d * d; }
        scale = 1.f / sqrtf(block_sum(squares, parts) / a.columns + a.epsilon);
    }
    for (int i = threadIdx.x * step; i < a.columns; i += THREADS * step) {
        if (NORM) for (int j = 0; j < step; j++) x[i + j] = (x[i + j] - mean) * scale * a.gamma[i + j] + (a.beta ? a.beta[i + j] : 0.f);
        if (!a.normed) continue;
        T_OUT* to = a.normed + (i64)row * a.columns + i;
        if (wide) store8(to, x + i);
        else *to = from_float<T_OUT>(x[i]);
    }
}

// A warp's dot products of one router row with ROWS rows; their order does not depend on ROWS.
DEVICE void router_logits(const RouteArguments& a, int expert, const float* x, int pitch, float* logits, int lane) {
    const T_WEIGHT* w = a.router + (i64)expert * a.columns;
    float sums[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) sums[r] = 0.f;
    if (a.columns % 8 == 0) {
        // Several loads at once, since each takes a trip to the second-level cache.
        constexpr int BATCH = ROWS == 1 ? 8 : 4, WORDS = sizeof(T_WEIGHT) / 2;
        for (int i0 = lane * 8; i0 < a.columns; i0 += 256 * BATCH) {
            uint4 raw[BATCH][WORDS];
#pragma unroll
            for (int b = 0; b < BATCH; b++)
#pragma unroll
                for (int k = 0; k < WORDS; k++) raw[b][k] = load_stream((const uint4*)(w + min(i0 + 256 * b, a.columns - 8)) + k);
#pragma unroll
            for (int b = 0; b < BATCH; b++) {
                int i = i0 + 256 * b;
                if (i >= a.columns) break;
                float v[8];
                if constexpr (WORDS == 2) for (int j = 0; j < 8; j++) v[j] = ((const float*)raw[b])[j];
                else widen8<T_WEIGHT>(raw[b][0], v);
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    float u[8];
                    load8(x + r * pitch + i, u);
                    for (int j = 0; j < 8; j++) sums[r] = fmaf(v[j], u[j], sums[r]);
                }
            }
        }
    } else {
        for (int i = lane; i < a.columns; i += 32)
            for (int r = 0; r < ROWS; r++) sums[r] = fmaf(to_float(w[i]), x[r * pitch + i], sums[r]);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        float v = warp_sum(sums[r]);
        if (lane == 0) logits[r * a.experts + expert] = v + (a.router_bias ? a.router_bias[expert] : 0.f);
    }
}

// A warp a row: the likeliest by a softmax over all, lower indices first among equals.
DEVICE void choose(const RouteArguments& a, int row, const float* logits, int lane) {
    float* probabilities = a.probabilities + (i64)row * a.top;
    int* chosen = a.chosen + (i64)row * a.top;
    if (a.row_count && row >= *a.row_count) {
        for (int k = lane; k < a.top; k += 32) { probabilities[k] = 0.f; chosen[k] = -1; }
        return;
    }
    float largest = -INFINITY, sum = 0.f, kept = 0.f;
    for (int e = lane; e < a.experts; e += 32) largest = fmaxf(largest, logits[e]);
    largest = warp_max(largest);
    for (int e = lane; e < a.experts; e += 32) sum += expf(logits[e] - largest);
    sum = warp_sum(sum);
    float bound = INFINITY;
    int bound_index = -1;
    for (int k = 0; k < a.top; k++) {
        float best = -INFINITY;
        int index = 0x7fffffff;
        for (int e = lane; e < a.experts; e += 32) {
            float v = logits[e];
            bool after = v < bound || (v == bound && e > bound_index);
            if (after && (v > best || (v == best && e < index) || index == 0x7fffffff)) { best = v; index = e; }
        }
        for (int o = 16; o; o >>= 1) {
            float v = __shfl_xor_sync(~0u, best, o);
            int i = __shfl_xor_sync(~0u, index, o);
            if (i != 0x7fffffff && (index == 0x7fffffff || v > best || (v == best && i < index))) { best = v; index = i; }
        }
        bound = best;
        bound_index = index;
        index = min(index, a.experts - 1);   // where NaN left nothing to choose
        float p = expf(best - largest);
        kept += p;
        if (lane == 0) { probabilities[k] = p; chosen[k] = index; }
    }
    __syncwarp();
    float scale = 1.f / (a.normalize ? kept : sum);
    for (int k = lane; k < a.top; k += 32) probabilities[k] *= scale;
}

// The same as below for up to 32 visits, by one warp.
DEVICE void sort_few_visits(const RouteArguments& a, int lane) {
    const volatile int* chosen = a.chosen;
    int count = a.rows * a.top, own = lane < count ? chosen[lane] : -1, place = 0;
    for (int i = 0; i < count; i++) {
        int other = __shfl_sync(~0u, own, i);
        place += other >= 0 && (other < own || (other == own && i < lane));
    }
    if (own >= 0) a.sources[place] = lane / a.top;
    if (lane < count) a.places[lane] = own >= 0 ? place : -1;
    for (int e0 = 0; e0 <= a.experts; e0 += 32) {
        int before = 0;
        for (int i = 0; i < count; i++) {
            int other = __shfl_sync(~0u, own, i);
            before += other >= 0 && other < e0 + lane;
        }
        if (e0 + lane <= a.experts) a.starts[e0 + lane] = before;
    }
}

// Sorts all visits by expert; each expert's keep the order of the batch. A warp takes an even share of them. `counts`: [WARPS + 1, experts].
DEVICE void sort_visits(const RouteArguments& a, int* counts) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, count = a.rows * a.top, share = (count + THREADS - 1) / THREADS * 32;
    int begin = warp * share, end = min(begin + share, count), *mine = counts + warp * a.experts, *totals = counts + WARPS * a.experts;
    const volatile int* chosen = a.chosen;
    for (int i = threadIdx.x; i < WARPS * a.experts; i += THREADS) counts[i] = 0;
    __syncthreads();
    // Four loads at once, since each takes a trip to the second-level cache.
    for (int i0 = begin + lane; i0 < end; i0 += 128) {
        int v[4];
        for (int j = 0; j < 4; j++) v[j] = i0 + 32 * j < end ? chosen[i0 + 32 * j] : -1;
        for (int j = 0; j < 4; j++) if (v[j] >= 0) atomicAdd(mine + v[j], 1);
    }
    __syncthreads();
    for (int e = threadIdx.x; e < a.experts; e += THREADS) {
        int sum = 0;
        for (int w = 0; w < WARPS; w++) { int c = counts[w * a.experts + e]; counts[w * a.experts + e] = sum; sum += c; }
        totals[e] = sum;
    }
    __syncthreads();
    if (warp == 0) {
        int carried = 0;
        for (int e0 = 0; e0 < a.experts; e0 += 32) {
            int own = e0 + lane < a.experts ? totals[e0 + lane] : 0, sum = own;
            for (int o = 1; o < 32; o <<= 1) { int v = __shfl_up_sync(~0u, sum, o); if (lane >= o) sum += v; }
            if (e0 + lane < a.experts) { totals[e0 + lane] = carried + sum - own; a.starts[e0 + lane] = carried + sum - own; }
            carried += __shfl_sync(~0u, sum, 31);
        }
        if (lane == 0) a.starts[a.experts] = carried;
    }
    __syncthreads();
    for (int i0 = begin; i0 < end; i0 += 128) {
        int v[4];
        for (int j = 0; j < 4; j++) v[j] = i0 + 32 * j + lane < end ? chosen[i0 + 32 * j + lane] : -1;
        for (int j = 0; j < 4; j++) {
            int i = i0 + 32 * j + lane;
            u32 same = __match_any_sync(~0u, v[j]), before = same & ((1u << lane) - 1);
            int place = v[j] >= 0 ? totals[v[j]] + mine[v[j]] + __popc(before) : -1;
            __syncwarp();
            if (v[j] >= 0 && before == 0) mine[v[j]] += __popc(same);
            __syncwarp();
            if (place >= 0) a.sources[place] = i / a.top;
            if (i < end) a.places[i] = place;
        }
    }
}

// ROWS rows a CTA, which share the router's weights.
KERNEL __launch_bounds__(THREADS) route(const RouteArguments a) {
    extern __shared__ __align__(16) float x[];   // [ROWS, columns], then the logits; the last CTA: counts
    __shared__ float parts[32];
    __shared__ bool last;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, pitch = (a.columns + 7) / 8 * 8, first = blockIdx.x * ROWS;
    float* logits = x + ROWS * pitch;
    if (blockIdx.x == 0) {
        const char* router = (const char*)a.router;
        for (i64 i = threadIdx.x * 128; i < (i64)a.experts * a.columns * sizeof(T_WEIGHT); i += THREADS * 128) prefetch_line(router + i);
    }
    let_next_start();
    wait_for_previous();
    for (int r = 0; r < ROWS; r++) norm_row(a, min(first + r, a.rows - 1), x + r * pitch, parts);
    __syncthreads();
    for (int e = warp; e < a.experts; e += WARPS) router_logits(a, e, x, pitch, logits, lane);
    __syncthreads();
    if (warp < ROWS && first + warp < a.rows) choose(a, first + warp, logits + warp * a.experts, lane);
    if (gridDim.x > 1) {
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) last = atomicAdd(a.arrived, 1) == gridDim.x - 1;
        __syncthreads();
        if (!last) return;
        __threadfence();
        if (threadIdx.x == 0) *a.arrived = 0;
    } else {
        __syncthreads();
    }
    if (a.rows * a.top > 32) sort_visits(a, (int*)x);
    else if (warp == 0) sort_few_visits(a, lane);
}
