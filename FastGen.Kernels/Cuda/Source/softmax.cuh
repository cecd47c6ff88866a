// A running softmax over scores as wgmma leaves them: a lane has two rows, whose columns lie over the four lanes of a quad.
#pragma once
#include "tensorcores.cuh"
#include "tiles.cuh"

// Scores and the largest are unscaled.
struct Softmax {
    float largest[2] = {NOTHING, NOTHING}, total[2] = {0.f, 0.f}, shrink[2];

    template <int N> DEVICE void weigh(float (&score)[N], float scale) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float raised = largest[h];
#pragma unroll
            for (int i = 2 * h; i < N; i += 4) raised = fmaxf(raised, fmaxf(score[i], score[i + 1]));
            raised = fmaxf(raised, __shfl_xor_sync(~0u, raised, 1));
            raised = fmaxf(raised, __shfl_xor_sync(~0u, raised, 2));
            // A row that has seen no key yet keeps weights of zero.
            float bias = raised == NOTHING ? 0.f : raised * scale, sum = 0.f;
            shrink[h] = exp2_fast(fmaf(largest[h], scale, -bias));
            largest[h] = raised;
#pragma unroll
            for (int i = 2 * h; i < N; i += 4) {
                score[i] = exp2_fast(fmaf(score[i], scale, -bias));
                score[i + 1] = exp2_fast(fmaf(score[i + 1], scale, -bias));
                sum += score[i] + score[i + 1];
            }
            total[h] = total[h] * shrink[h] + sum;
        }
    }
};

DEVICE void sum_quads(float (&v)[2]) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        v[h] += __shfl_xor_sync(~0u, v[h], 1);
        v[h] += __shfl_xor_sync(~0u, v[h], 2);
    }
}
