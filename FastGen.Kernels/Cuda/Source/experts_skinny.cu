// Products of up to 128 rows an expert on Hopper: output = activation(gate) ⊙ up, or plain. Resident CTAs walk over tiles of 128 weight rows by BN
// visits; tensor maps bring stages of 64 columns of both into shared memory in the swizzled layout that wgmma reads; one warp loads and runs ahead into
// the next tile, one warpgroup multiplies. Gated: half of a tile's weight rows are the gate's, so that both factors of an output meet in one thread.
#include "experts.cuh"
#include "wgmma.cuh"

#define BM 128
#define BN SHAPE_A
#define STAGES SHAPE_B
#define OUTS (GATED ? BM / 2 : BM)
#define STAGE_BYTES ((BM + BN) * 128)
#define INPUT_OFFSET (BM * 128)

struct SkinnyArguments {
    TensorMap weight_map, input_map;   // of all experts' rows; of the visits in order of expert
    T_OUT* output;                     // [visits, outputs]
    const int* starts;
    int experts, outputs, columns;
};

KERNEL __launch_bounds__(160) experts_skinny(const __grid_constant__ SkinnyArguments a) {
    extern __shared__ __align__(1024) char unaligned[];
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    char* shared = (char*)(((u64)unaligned + 1023) & ~(u64)1023);
    int* starts = (int*)(shared + STAGES * STAGE_BYTES);
    u32 ring = shared_address(shared), full = shared_address(barriers), empty = full + 8 * STAGES;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, tiles = (a.outputs + OUTS - 1) / OUTS, count = (a.columns + 63) / 64, s = 0;
    u32 parity = 0;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) { barrier_init(full + 8 * i, 1); barrier_init(empty + 8 * i, 4); }
        barrier_init_fence();
    }
    if (GATED) wait_for_previous();
    let_next_start();   // gated: now that routing has ended, so that the next kernel finds `starts` before it waits
    load_starts(starts, a.starts, a.experts);
    __syncthreads();

    ExpertUnit unit;
    if (warp == 4) {
        for (int tile = blockIdx.x; unit.seek(starts, a.experts, BN, tile / tiles, lane); tile += gridDim.x) {
            int row = unit.expert * (GATED ? 2 : 1) * a.outputs + tile % tiles * OUTS, block = 0;
            auto load_weights = [&](int i, int slot) {
                u32 target = ring + slot * STAGE_BYTES;
                barrier_expect(full + 8 * slot, STAGE_BYTES);
                tensor_copy(target, &a.weight_map, i * 64, row, full + 8 * slot);
                if (GATED) tensor_copy(target + OUTS * 128, &a.weight_map, i * 64, a.outputs + row, full + 8 * slot);
            };
            auto load_input = [&](int i, int slot) { tensor_copy(ring + slot * STAGE_BYTES + INPUT_OFFSET, &a.input_map, i * 64, unit.first, full + 8 * slot); };
            if (lane == 0 && tile == blockIdx.x) {   // weights are on their way before the previous kernel ends
                int early = min(STAGES, count);
                for (; block < early; block++) load_weights(block, block);
                if (!GATED) wait_for_previous();
                for (int i = 0; i < early; i++) load_input(i, i);
                s = early % STAGES;
                parity = early == STAGES;
            }
            for (; lane == 0 && block < count; block++) {
                barrier_wait(empty + 8 * s, parity ^ 1);   // passes at once in the first round
                load_weights(block, s);
                load_input(block, s);
                if (++s == STAGES) { s = 0; parity ^= 1; }
            }
            __syncwarp();
        }
        return;
    }

    if (!GATED) wait_for_previous();
    for (int tile = blockIdx.x; unit.seek(starts, a.experts, BN, tile / tiles, lane); tile += gridDim.x) {
        float sums[2][BN / 2];   // of 64 weight rows each
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < BN / 2; j++) sums[i][j] = 0.f;
        for (int block = 0; block < count; block++) {
            barrier_wait(full + 8 * s, parity);
            u32 weights = ring + s * STAGE_BYTES, input = weights + INPUT_OFFSET;
            wgmma_begin();
#pragma unroll
            for (int k = 0; k < 4; k++)
#pragma unroll
                for (int i = 0; i < 2; i++) Wgmma<T_WEIGHT, BN>::add(sums[i], wgmma_operand(weights + i * 8192 + k * 32), wgmma_operand(input + k * 32));
            wgmma_finish();
            if (lane == 0) barrier_arrive(empty + 8 * s);
            if (++s == STAGES) { s = 0; parity ^= 1; }
        }
        wgmma_settle(sums[0]);
        wgmma_settle(sums[1]);

        int visits = unit.end - unit.first, first = tile % tiles * OUTS + warp * 16 + (lane >> 2);
        T_OUT* output = a.output + (i64)unit.first * a.outputs;
#pragma unroll
        for (int j = 0; j < BN / 2; j++) {
            int visit = (j >> 2) * 8 + (lane & 3) * 2 + (j & 1), m = first + (j & 2) * 4;
            if (visit >= visits) continue;
            T_OUT* to = output + (i64)visit * a.outputs + m;
            if (GATED) {
                if (m < a.outputs) *to = from_float<T_OUT>(activate<ACTIVATION>(sums[0][j]) * sums[1][j]);
            } else {
                if (m < a.outputs) *to = from_float<T_OUT>(sums[0][j]);
                if (m + 64 < a.outputs) to[64] = from_float<T_OUT>(sums[1][j]);
            }
        }
    }
}
