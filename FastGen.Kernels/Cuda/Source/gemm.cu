// Products of many rows on Hopper, output = input · weightsᵀ with all that follows in the same kernel. Resident CTAs walk over tiles of 128 rows and
// BN outputs; one warp brings both operands through tensor maps, stages of 64 columns deep, and runs ahead into the next tile; two warpgroups multiply
// 64 rows each. The CTAs of a cluster take neighbouring rows of the same outputs, each brings its share of the weights to all of them.
// Gated: a tile holds as many rows of the gate as of the up projection, so that a thread has both of a pair.
// FUSED: outputs are the heads of queries, keys and values; they are normalized and rotated as they leave, queries to the output, keys and values
// to their places in the cache alone.
#include "wgmma.cuh"
#if FUSED
#include "heads.cuh"
#endif

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
#if FUSED
    Batch batch;
    HeadArguments heads;
    T_OUT* cache;
#endif
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

DEVICE void add_bias(const GemmArguments& a, float (&sums)[BN / 2], int output, int t) {
    if (!a.bias) return;
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

// The lane's two rows of the warp's sixteen.
template <class T> DEVICE void finish(const GemmArguments& a, T* results, float (&sums)[BN / 2], int row, int output, int t) {
    add_bias(a, sums, output, t);
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
            store_row<OUTS / 8>([&](int i) { return Pair<T>::of(sums[4 * i + 2 * h], sums[4 * i + 2 * h + 1]); }, [&](int i) { return inside && output + i * 8 < a.outputs ? target + i * 8 : nullptr; }, t);
        }
    }
}

#if FUSED
#define TILE_HEADS (BN / HEAD_DIM)
#define ROTATED COLUMNS    // columns of a head

// Of one head and row: the lane's pairs of columns.
DEVICE void normalize(const HeadArguments& a, int kind, float (&sums)[BN / 2], int first, int h, int t) {
    int norm = kind == QUERY ? a.query_norm : a.key_norm;
    if (!norm) return;
    const float* gamma = kind == QUERY ? a.query_gamma : a.key_gamma;
    const float* beta = kind == QUERY ? a.query_beta : a.key_beta;
    auto quad_sum = [](float v) { v += __shfl_xor_sync(~0u, v, 1); return v + __shfl_xor_sync(~0u, v, 2); };
    float mean = 0.f, squares = 0.f;
    if (norm == 2) {
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) mean += sums[first + 4 * i + 2 * h] + sums[first + 4 * i + 2 * h + 1];
        mean = quad_sum(mean) / HEAD_DIM;
    }
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 4; i++) {
        float v = sums[first + 4 * (i >> 1) + 2 * h + (i & 1)] - mean;
        squares += v * v;
    }
    float scale = 1.f / sqrtf(quad_sum(squares) / HEAD_DIM + (kind == QUERY ? a.query_epsilon : a.key_epsilon));
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 4; i++) {
        int column = (i >> 1) * 8 + 2 * t + (i & 1);
        float& v = sums[first + 4 * (i >> 1) + 2 * h + (i & 1)];
        v = (v - mean) * scale * gamma[column] + (beta ? beta[column] : 0.f);
    }
}

DEVICE void finish_heads(const GemmArguments& a, float (&sums)[BN / 2], int row, int output, int t) {
    const int* data = a.batch.data;
    int head0 = output / HEAD_DIM, all = a.heads.heads + 2 * a.heads.kv_heads;
    add_bias(a, sums, output, t);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = min(row + 8 * h, a.rows - 1), position = data[a.batch.positions + r], place = data[a.batch.kv_slots + r], token = place % 16;
        bool inside = row + 8 * h < a.rows;
#pragma unroll
        for (int n = 0; n < TILE_HEADS; n++) {
            int kind = a.heads.kind_of(head0 + n);
            if (kind != VALUE) normalize(a.heads, kind, sums, n * (HEAD_DIM / 2), h, t);
        }
        if (ROTATED) {
            const float* table = a.heads.rotary + (i64)(position + data[a.batch.rotary_bases + data[a.batch.row_sequences + r]]) * ROTATED + 2 * t;
#pragma unroll
            for (int i = 0; i < ROTATED / 16; i++) {
                float2 cosine = *(const float2*)(table + 8 * i), sine = *(const float2*)(table + ROTATED / 2 + 8 * i);
#pragma unroll
                for (int n = 0; n < TILE_HEADS; n++) {
                    if (a.heads.kind_of(head0 + n) == VALUE) continue;
#pragma unroll
                    for (int j = 0; j < 2; j++) {
                        float& low = sums[n * (HEAD_DIM / 2) + 4 * i + 2 * h + j];
                        float& high = sums[n * (HEAD_DIM / 2) + 4 * (i + ROTATED / 16) + 2 * h + j];
                        float c = j ? cosine.y : cosine.x, s = j ? sine.y : sine.x, l = low;
                        low = l * c - high * s;
                        high = high * c + l * s;
                    }
                }
            }
        }
#pragma unroll
        for (int n = 0; n < TILE_HEADS; n++) {
            int head = head0 + n, kind = a.heads.kind_of(head), kv_head = head - a.heads.heads - (kind == VALUE ? a.heads.kv_heads : 0);
            if (head >= all) break;
            float factor = kind == QUERY && a.heads.query_scales ? a.heads.query_scales[position] : 1.f;
            T_OUT* query = a.output + (i64)r * a.outputs + head * HEAD_DIM;
            T_OUT* page = a.cache + (((i64)(place / 16) * a.heads.kv_heads + kv_head) * 2 + (kind == VALUE)) * (16 * HEAD_DIM);
            auto word = [&](int i) {
                int at = n * (HEAD_DIM / 2) + 4 * i + 2 * h;
                return Pair<T_OUT>::of(sums[at] * factor, sums[at + 1] * factor);
            };
            store_row<HEAD_DIM / 8>(word, [&](int i) { return !inside ? nullptr : kind == QUERY ? query + i * 8 : page + cached_place<T_OUT, HEAD_DIM>(16, token, i * 8); }, t);
        }
    }
}
#endif

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
        int row = tile.row + rank * BM + group * 64 + warp * 16 + (lane >> 2);
#if FUSED
        finish_heads(a, sums, row, tile.output, lane & 3);
#else
        finish(a, a.output, sums, row, tile.output, lane & 3);
#endif
    }
}

// Orders no memory but barriers that were made known to the cluster.
DEVICE void meet_cluster() {
    if (CLUSTER > 1) asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
    else __syncthreads();
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
    __syncwarp();
    meet_cluster();
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
    meet_cluster();   // a CTA stays while others may write to it
}
