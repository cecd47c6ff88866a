// Products of up to 128 rows an expert on Hopper: output = activation(gate) ⊙ up, or plain. BM weight rows a CTA, BN visits; tensor maps bring stages
// of 64-column blocks of both into shared memory in the swizzled layout that wgmma reads; one warp loads, one warpgroup multiplies. There are
// CTAs for the most units of BN visits that there could be; those without one return. Gated: a tile holds as many rows of the gate as of the up
// projection.
#include "experts.cuh"
#include "wgmma.cuh"

#define BM SHAPE_A
#define BN SHAPE_B
#define BLOCKS SHAPE_C     // of 64 columns, a stage
#define STAGES SHAPE_D
#define TILES (BM / 64)    // of 64 weight rows, for the one warpgroup
#define OUTS (GATED ? BM / 2 : BM)
#define STAGE_BYTES ((BM + BN) * 128 * BLOCKS)
#define INPUT_OFFSET (BM * 128 * BLOCKS)
#define PITCH (BM + 4)

struct SkinnyArguments {
    TensorMap weight_map, input_map;   // of all experts' rows; of the visits in order of expert
    T_OUT* output;                     // [visits, outputs]
    const int* starts;
    int experts, outputs, columns;
};

DEVICE void consumers_sync() { asm volatile("bar.sync 1, 128;" ::: "memory"); }

KERNEL __launch_bounds__(160) experts_skinny(const __grid_constant__ SkinnyArguments a) {
    extern __shared__ __align__(1024) char unaligned[];
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    char* shared = (char*)(((u64)unaligned + 1023) & ~(u64)1023);
    int* starts = (int*)shared;   // before the ring is used
    u32 ring = shared_address(shared), full = shared_address(barriers), empty = full + 8 * STAGES;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, tiles = (a.outputs + OUTS - 1) / OUTS, first = blockIdx.x % tiles * OUTS;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) { barrier_init(full + 8 * s, 1); barrier_init(empty + 8 * s, 4); }
        barrier_init_fence();
    }
    if (GATED) wait_for_previous();
    let_next_start();   // gated: now that routing has ended, so that the next kernel finds `starts` before it waits
    load_starts(starts, a.starts, a.experts);
    __syncthreads();
    ExpertUnit unit;
    if (!unit.seek(starts, a.experts, BN, blockIdx.x / tiles, lane)) {
        wait_for_previous();
        return;
    }
    __syncthreads();
    int count = (a.columns + 64 * BLOCKS - 1) / (64 * BLOCKS);

    if (warp == 4) {
        if (lane == 0) {
            publish_to_wgmma();   // the ring held `starts`
            int row = unit.expert * (GATED ? 2 : 1) * a.outputs + first;
            auto load_weights = [&](int i, int s) {
                barrier_expect(full + 8 * s, STAGE_BYTES);
#pragma unroll
                for (int k = 0; k < BLOCKS; k++) {
                    int column = (i * BLOCKS + k) * 64;
                    u32 target = ring + s * STAGE_BYTES + k * BM * 128;
                    tensor_copy(target, &a.weight_map, column, row, full + 8 * s);
                    if (GATED) tensor_copy(target + BM / 2 * 128, &a.weight_map, column, a.outputs + row, full + 8 * s);
                }
            };
            auto load_input = [&](int i, int s) {
#pragma unroll
                for (int k = 0; k < BLOCKS; k++) tensor_copy(ring + s * STAGE_BYTES + INPUT_OFFSET + k * BN * 128, &a.input_map, (i * BLOCKS + k) * 64, unit.first, full + 8 * s);
            };
            int early = min(STAGES, count);
            for (int i = 0; i < early; i++) load_weights(i, i);
            if (!GATED) wait_for_previous();
            for (int i = 0; i < early; i++) load_input(i, i);
            int s = 0;
            u32 parity = 0;
            for (int i = early; i < count; i++) {
                barrier_wait(empty + 8 * s, parity);
                load_weights(i, s);
                load_input(i, s);
                if (++s == STAGES) { s = 0; parity ^= 1; }
            }
        }
        return;
    }

    if (!GATED) wait_for_previous();
    float sums[TILES][BN / 2];
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int j = 0; j < BN / 2; j++) sums[i][j] = 0.f;
    int s = 0;
    u32 parity = 0;
    for (int b = 0; b < count; b++) {
        barrier_wait(full + 8 * s, parity);
        u32 weights = ring + s * STAGE_BYTES, input = weights + INPUT_OFFSET;
        wgmma_begin();
#pragma unroll
        for (int k = 0; k < 4 * BLOCKS; k++)
#pragma unroll
            for (int i = 0; i < TILES; i++)
                Wgmma<T_WEIGHT, BN>::add(sums[i], wgmma_operand(weights + (k / 4) * BM * 128 + i * 8192 + (k % 4) * 32), wgmma_operand(input + (k / 4) * BN * 128 + (k % 4) * 32));
        wgmma_finish();
        if (lane == 0) barrier_arrive(empty + 8 * s);
        if (++s == STAGES) { s = 0; parity ^= 1; }
    }

    // The finished tile goes through shared memory, [BN][PITCH]; the ring is free by now.
    float* tile = (float*)shared;
    consumers_sync();
#pragma unroll
    for (int i = 0; i < TILES; i++) {
        int m = i * 64 + warp * 16 + (lane >> 2);
#pragma unroll
        for (int j = 0; j < BN / 2; j++) tile[((j >> 2) * 8 + (lane & 3) * 2 + (j & 1)) * PITCH + m + (j & 2) * 4] = sums[i][j];
    }
    consumers_sync();
    for (int v = threadIdx.x; v < (unit.end - unit.first) * (OUTS / 4); v += 128) {
        int row = v / (OUTS / 4), column = v % (OUTS / 4) * 4, output = first + column;
        if (output >= a.outputs) continue;
        float4 t = *(const float4*)(tile + row * PITCH + column);
        float values[4] = {t.x, t.y, t.z, t.w};
        if (GATED) {
            float4 u = *(const float4*)(tile + row * PITCH + BM / 2 + column);
            float up[4] = {u.x, u.y, u.z, u.w};
            for (int i = 0; i < 4; i++) values[i] = activate<ACTIVATION>(values[i]) * up[i];
        }
        T_OUT* to = a.output + (i64)(unit.first + row) * a.outputs + output;
        if constexpr (sizeof(T_OUT) == 4) *(float4*)to = make_float4(values[0], values[1], values[2], values[3]);
        else for (int i = 0; i < 4; i++) to[i] = from_float<T_OUT>(values[i]);
    }
}
