// Products of many rows on Hopper, output = input · weightsᵀ with all that follows in the same kernel. Resident CTAs walk over tiles of 128 rows and
// BN outputs; one warp brings both operands through tensor maps, stages of 64 columns deep, and runs ahead into the next tile; two warpgroups multiply
// 64 rows each. The CTAs of a cluster take neighbouring rows of the same outputs, each brings its share of the weights to all of them.
// Gated: a tile holds as many rows of the gate as of the up projection, so that a thread has both of a pair.
#include "wgmma.cuh"

#define BN SHAPE_A
#define CLUSTER SHAPE_B
#define STAGES SHAPE_C
#define BM 128
#define BAND 8             // tiles along the rows that run side by side
#define OUTS (GATED ? BN / 2 : BN)
#define SHARE (BN / 2)     // weight rows of one copy
#define INPUT_BYTES (BM * 128)
#define STAGE_BYTES ((BM + BN) * 128)

struct GemmArguments {
    TensorMap weight_map, input_map;
    T_OUT* output;         // [rows, outputs]
    const float* bias;
    int rows, outputs, columns;
};

// Tile `index` of the cluster: first row of its first CTA, first output.
struct Tile {
    int row, output;
    DEVICE Tile(const GemmArguments& a, int index) {
        int across = (a.rows + BM * CLUSTER - 1) / (BM * CLUSTER), along = tiles_along(a), band = index / (BAND * along) * BAND, rest = index - band * along, width = min(BAND, across - band);
        row = (band + rest % width) * BM * CLUSTER;
        output = rest / width * OUTS;
    }
    static DEVICE int tiles_along(const GemmArguments& a) { return (a.outputs + OUTS - 1) / OUTS; }
    static DEVICE int count(const GemmArguments& a) { return (a.rows + BM * CLUSTER - 1) / (BM * CLUSTER) * tiles_along(a); }
};

DEVICE void load(const GemmArguments& a, u32 ring, u32 full, u32 empty, int rank) {
    int blocks = (a.columns + 63) / 64, tiles = Tile::count(a), slot = 0, early = min(STAGES, blocks);
    u32 parity = 1;
    auto load_weights = [&](const Tile& tile, int block, int s) {
        barrier_expect(full + 8 * s, STAGE_BYTES);
        u32 target = ring + s * STAGE_BYTES + INPUT_BYTES;
#pragma unroll
        for (int share = 0; share < 2; share++) {
            int first = tile.output + share * (GATED ? a.outputs : SHARE);
            if (CLUSTER == 1) tensor_copy(target + share * SHARE * 128, &a.weight_map, block * 64, first, full + 8 * s);
            else if (share == rank) tensor_copy_to_all(target + share * SHARE * 128, &a.weight_map, block * 64, first, full + 8 * s, 3);
        }
    };
    auto load_input = [&](const Tile& tile, int block, int s) { tensor_copy(ring + s * STAGE_BYTES, &a.input_map, block * 64, tile.row + rank * BM, full + 8 * s); };
    for (int index = blockIdx.x / CLUSTER; index < tiles; index += gridDim.x / CLUSTER) {
        Tile tile(a, index);
        int block = 0;
        if (index == blockIdx.x / CLUSTER) {   // weights are on their way before the previous kernel ends
            for (; block < early; block++) load_weights(tile, block, block);
            wait_for_previous();
            for (int s = 0; s < early; s++) load_input(tile, s, s);
            if ((slot = early % STAGES) == 0) parity = 0;
        }
        for (; block < blocks; block++) {
            barrier_wait(empty + 8 * slot, parity);
            load_weights(tile, block, slot);
            load_input(tile, block, slot);
            if (++slot == STAGES) { slot = 0; parity ^= 1; }
        }
    }
}

template <int A> DEVICE float activate_fast(float x) {
    if constexpr (A == 4) {   // to within rounding of 16 bits
        float r;
        asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(1.f + exp2_fast(-1.44269504f * x)));
        return x * r;
    }
    return activate<A>(x);
}

DEVICE void add_pair(float* to, float x, float y) { asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" :: "l"(to), "f"(x), "f"(y) : "memory"); }

// The lane's two rows of the warp's sixteen.
template <class T> DEVICE void finish(const GemmArguments& a, T* results, float (&sums)[BN / 2], int row, int output, int t) {
    if (a.bias) {
#pragma unroll
        for (int i = 0; i < OUTS / 8; i++) {
            int column = output + i * 8 + 2 * t;
            if (column >= a.outputs) break;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                sums[4 * i + j] += a.bias[column + (j & 1)];
                if (GATED) sums[BN / 4 + 4 * i + j] += a.bias[a.outputs + column + (j & 1)];
            }
        }
    }
#pragma unroll
    for (int i = 0; i < OUTS / 2; i++) sums[i] = activate_fast<ACTIVATION>(sums[i]) * (GATED ? sums[BN / 4 + i] : 1.f);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        bool inside = row + 8 * h < a.rows;
        T* target = results + (i64)(row + 8 * h) * a.outputs + output;
        if constexpr (sizeof(T) == 4) {
#pragma unroll
            for (int i = 0; i < OUTS / 8; i++) {
                if (!inside || output + i * 8 >= a.outputs) break;
                if (ACCUMULATE) add_pair(target + i * 8 + 2 * t, sums[4 * i + 2 * h], sums[4 * i + 2 * h + 1]);
                else *(float2*)(target + i * 8 + 2 * t) = make_float2(sums[4 * i + 2 * h], sums[4 * i + 2 * h + 1]);
            }
        } else {
#pragma unroll
            for (int i = 0; i < OUTS / 8; i += 4) {
                u32 quad[4];
#pragma unroll
                for (int j = 0; j < 4; j++) quad[j] = Pair<T>::of(sums[4 * (i + j) + 2 * h], sums[4 * (i + j) + 2 * h + 1]);
                transpose_quad(quad, t);
                if (inside && output + (i + t) * 8 < a.outputs) *(uint4*)(target + (i + t) * 8) = make_uint4(quad[0], quad[1], quad[2], quad[3]);
            }
        }
    }
}

DEVICE void multiply(const GemmArguments& a, u32 ring, u32 full, u32 empty, int rank) {
    int group = __shfl_sync(~0u, threadIdx.x >> 7, 0) - 1, warp = threadIdx.x >> 5 & 3, lane = threadIdx.x & 31;
    int blocks = (a.columns + 63) / 64, tiles = Tile::count(a), slot = 0;
    u32 parity = 0;
    float sums[BN / 2];
    auto release = [&](int s) {
        if (lane < CLUSTER) {
            if (lane == rank) barrier_arrive(empty + 8 * s);
            else barrier_arrive_at(empty + 8 * s, lane);
        }
    };
    wait_for_previous();
    for (int index = blockIdx.x / CLUSTER; index < tiles; index += gridDim.x / CLUSTER) {
        Tile tile(a, index);
#pragma unroll
        for (int i = 0; i < BN / 2; i++) sums[i] = 0.f;
        int previous = -1;
        for (int block = 0; block < blocks; block++) {
            barrier_wait(full + 8 * slot, parity);
            u32 input = ring + slot * STAGE_BYTES + group * 64 * 128, weights = ring + slot * STAGE_BYTES + INPUT_BYTES;
            wgmma_begin();
#pragma unroll
            for (int k = 0; k < 4; k++) Wgmma<T_WEIGHT, BN>::add(sums, wgmma_operand(input + k * 32), wgmma_operand(weights + k * 32));
            wgmma_commit();
            wgmma_wait<1>();
            if (previous >= 0) release(previous);
            previous = slot;
            if (++slot == STAGES) { slot = 0; parity ^= 1; }
        }
        wgmma_wait<0>();
        wgmma_settle(sums);
        release(previous);
        finish(a, a.output, sums, tile.row + rank * BM + group * 64 + warp * 16 + (lane >> 2), tile.output, lane & 3);
    }
}

KERNEL __launch_bounds__(384, 1) gemm(const __grid_constant__ GemmArguments a) {
    extern __shared__ char unaligned[];
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    u32 ring = (shared_address(unaligned) + 1023) & ~1023u, full = shared_address(barriers), empty = full + 8 * STAGES;
    int rank = blockIdx.x % CLUSTER;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) { barrier_init(full + 8 * s, 1); barrier_init(empty + 8 * s, 8 * CLUSTER); }
        barrier_init_fence();
    }
    if (CLUSTER > 1) cluster_sync();
    else __syncthreads();
    let_next_start();
    if (threadIdx.x < 128) {
        give_registers<40>();
        if (threadIdx.x == 0) load(a, ring, full, empty, rank);
        __syncwarp();
    } else {
        take_registers<232>();
        multiply(a, ring, full, empty, rank);
    }
    __syncwarp();
    if (CLUSTER > 1) cluster_sync();   // a CTA stays while others may write to it
}
