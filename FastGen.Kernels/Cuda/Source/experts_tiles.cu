// Products of many rows an expert on Hopper: output = activation(gate) ⊙ up, or plain. A CTA an SM takes tiles of 128 visits by BN weight rows in
// turn; one warp brings stages of 64 columns of both by tensor maps, running ahead into the next tile, and two warpgroups multiply 64 visits each.
// Tiles of one expert that share weight rows follow each other, so that these come from memory once. Gated: half of a tile's weight rows are
// the gate's, so that both factors of an output meet in one thread.
#include "experts.cuh"
#include "wgmma.cuh"

#define BM 128
#define BN SHAPE_A
#define STAGES SHAPE_B
#define OUTS (GATED ? BN / 2 : BN)
#define STAGE_BYTES ((BM + BN) * 128)
#define WEIGHTS_OFFSET (BM * 128)

// To within the rounding of 16 bits.
DEVICE float activate_fast(float x) { return ACTIVATION == 4 ? __fdividef(x, 1.f + __expf(-x)) : activate<ACTIVATION>(x); }

struct TilesArguments {
    TensorMap weight_map, input_map;   // of all experts' rows; of the visits in order of expert
    T_OUT* output;                     // [visits, outputs]
    const int* starts;
    int experts, outputs, columns;
};

struct Tile {
    ExpertUnit unit;
    int output;

    // The tile of that number: of an expert's, those of the same weight rows follow each other. By a whole warp.
    DEVICE bool seek(const int* starts, int experts, int outputs, int tile, int lane) {
        int across = (outputs + OUTS - 1) / OUTS;
        if (!unit.seek(starts, experts, BM, tile / across, lane)) return false;
        int before = unit.first - starts[unit.expert], units = (starts[unit.expert + 1] - starts[unit.expert] + BM - 1) / BM;
        int own = tile - (tile / across - before / BM) * across;
        unit.first = starts[unit.expert] + own % units * BM;
        unit.end = min(unit.first + BM, starts[unit.expert + 1]);
        output = own / units * OUTS;
        return true;
    }
};

KERNEL __launch_bounds__(288, 1) experts_tiles(const __grid_constant__ TilesArguments a) {
    extern __shared__ __align__(1024) char unaligned[];
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    char* shared = (char*)(((u64)unaligned + 1023) & ~(u64)1023);
    int* starts = (int*)(shared + STAGES * STAGE_BYTES);
    u32 ring = shared_address(shared), full = shared_address(barriers), empty = full + 8 * STAGES;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, blocks = (a.columns + 63) / 64;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) { barrier_init(full + 8 * s, 1); barrier_init(empty + 8 * s, 8); }
        barrier_init_fence();
    }
    wait_for_previous();
    let_next_start();
    load_starts(starts, a.starts, a.experts);
    __syncthreads();

    Tile tile;
    int s = 0;
    u32 parity = 0;
    if (warp == 8) {
        for (int i = blockIdx.x; tile.seek(starts, a.experts, a.outputs, i, lane); i += gridDim.x) {
            int row = tile.unit.expert * (GATED ? 2 : 1) * a.outputs + tile.output;
            for (int b = 0; lane == 0 && b < blocks; b++) {
                barrier_wait(empty + 8 * s, parity ^ 1);   // passes at once in the first round
                u32 target = ring + s * STAGE_BYTES, barrier = full + 8 * s;
                barrier_expect(barrier, STAGE_BYTES);
                tensor_copy(target, &a.input_map, b * 64, tile.unit.first, barrier);
                tensor_copy(target + WEIGHTS_OFFSET, &a.weight_map, b * 64, row, barrier);
                if (GATED) tensor_copy(target + WEIGHTS_OFFSET + OUTS * 128, &a.weight_map, b * 64, a.outputs + row, barrier);
                if (++s == STAGES) { s = 0; parity ^= 1; }
            }
            __syncwarp();
        }
        return;
    }

    int group = warp >> 2, g = lane >> 2, t = lane & 3;
    for (int i = blockIdx.x; tile.seek(starts, a.experts, a.outputs, i, lane); i += gridDim.x) {
        int rows = tile.unit.end - tile.unit.first - group * 64;   // of this warpgroup
        if (rows <= 0) {
            for (int b = 0; b < blocks; b++) {
                barrier_wait(full + 8 * s, parity);
                if (lane == 0) barrier_arrive(empty + 8 * s);
                if (++s == STAGES) { s = 0; parity ^= 1; }
            }
            continue;
        }
        float sums[BN / 2];
#pragma unroll
        for (int j = 0; j < BN / 2; j++) sums[j] = 0.f;
        u32 previous = 0;
        for (int b = 0; b < blocks; b++) {
            barrier_wait(full + 8 * s, parity);
            u32 input = ring + s * STAGE_BYTES + group * 8192, weights = ring + s * STAGE_BYTES + WEIGHTS_OFFSET;
            wgmma_begin();
#pragma unroll
            for (int k = 0; k < 4; k++) Wgmma<T_WEIGHT, BN>::add(sums, wgmma_operand(input + k * 32), wgmma_operand(weights + k * 32));
            wgmma_commit();
            wgmma_wait<1>();   // the stage before is free
            if (lane == 0 && b > 0) barrier_arrive(previous);
            previous = empty + 8 * s;
            if (++s == STAGES) { s = 0; parity ^= 1; }
        }
        wgmma_wait<0>();
        wgmma_settle(sums);
        if (lane == 0) barrier_arrive(previous);

#pragma unroll
        for (int h = 0; h < 2; h++) {
            int row = (warp & 3) * 16 + g + 8 * h;
            T_OUT* to = a.output + (i64)(tile.unit.first + group * 64 + row) * a.outputs + tile.output;
            if constexpr (GATED) {
#pragma unroll
                for (int q = 0; q < BN / 16; q += 4) {
                    u32 v[4];
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        const float* gate = sums + (q + i) * 4 + 2 * h;
                        const float* up = gate + BN / 4;
                        v[i] = Pair<T_WEIGHT>::of(activate_fast(gate[0]) * up[0], activate_fast(gate[1]) * up[1]);
                    }
                    transpose_quad(v, t);
                    int column = (q + t) * 8;
                    if (row < rows && tile.output + column < a.outputs) *(uint4*)(to + column) = make_uint4(v[0], v[1], v[2], v[3]);
                }
            } else {
#pragma unroll
                for (int q = 0; q < BN / 8; q++) {
                    int column = q * 8 + 2 * t;
                    if (row < rows && tile.output + column < a.outputs) *(float2*)(to + column) = make_float2(sums[q * 4 + 2 * h], sums[q * 4 + 2 * h + 1]);
                }
            }
        }
    }
}
