// A sparse mixture of experts without a round trip to the host: choose, group rows by expert, and add the weighted results.
#include "common.cuh"

struct RouteArguments {
    const float* logits;        // [rows, experts]
    float* probabilities;       // [rows, top]
    int* chosen;                // [rows, top]
    int rows, experts, top, normalize;
};

// A warp a row: the likeliest by a softmax over all, lower indices first among equals.
KERNEL route(const RouteArguments a) {
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (row >= a.rows) return;
    const float* logits = a.logits + (i64)row * a.experts;
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
        if (lane == 0) { a.probabilities[row * a.top + k] = p; a.chosen[row * a.top + k] = index; }
    }
    __syncwarp();
    float scale = 1.f / (a.normalize ? kept : sum);
    for (int k = lane; k < a.top; k += 32) a.probabilities[row * a.top + k] *= scale;
}

struct GroupArguments {
    const int* chosen;   // [rows · top]
    int* starts;         // [experts + 1]
    int* sources;        // [rows · top] row of the batch, in order of expert
    int* places;         // [rows · top] where each choice went
    int count, top, experts;
};

// One CTA; every expert's rows keep the order of the batch, so that the same batch gives the same sums.
KERNEL __launch_bounds__(1024) group(const GroupArguments a) {
    extern __shared__ int counts[];
    let_next_start();
    wait_for_previous();
    for (int e = threadIdx.x; e <= a.experts; e += blockDim.x) counts[e] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < a.count; i += blockDim.x) atomicAdd(counts + a.chosen[i] + 1, 1);
    __syncthreads();
    if (threadIdx.x == 0) for (int e = 0; e < a.experts; e++) counts[e + 1] += counts[e];
    __syncthreads();
    for (int e = threadIdx.x; e <= a.experts; e += blockDim.x) a.starts[e] = counts[e];
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = blockDim.x >> 5;
    for (int e = warp; e < a.experts; e += warps) {
        int at = counts[e];
        for (int i0 = 0; i0 < a.count; i0 += 32) {
            bool mine = i0 + lane < a.count && a.chosen[i0 + lane] == e;
            u32 mask = __ballot_sync(~0u, mine);
            if (mine) {
                int place = at + __popc(mask & ((1u << lane) - 1));
                a.sources[place] = (i0 + lane) / a.top;
                a.places[i0 + lane] = place;
            }
            at += __popc(mask);
        }
    }
}

struct CombineArguments {
    const float* results;         // [rows · top, columns] in order of expert
    const float* probabilities;
    const int* places;
    T_OUT* output;
    int columns, top;
};

KERNEL combine(const CombineArguments a) {
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x;
    for (int i = threadIdx.x; i < a.columns; i += blockDim.x) {
        float sum = to_float(a.output[(i64)row * a.columns + i]);
        for (int k = 0; k < a.top; k++) sum += a.probabilities[row * a.top + k] * a.results[(i64)a.places[row * a.top + k] * a.columns + i];
        a.output[(i64)row * a.columns + i] = from_float<T_OUT>(sum);
    }
}
