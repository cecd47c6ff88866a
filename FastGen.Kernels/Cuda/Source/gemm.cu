// Products of many rows on Hopper, output = input · weightsᵀ with all that follows in the same kernel. Resident CTAs walk over tiles of 128 rows and
// 256 weight rows; one thread brings both operands through tensor maps, in stages of 64 columns, and runs ahead into the next tile; two warpgroups
// multiply 64 rows each. The two CTAs of a cluster take neighbouring rows of the same outputs, and each brings half of the weights to both.
// GATED: a tile holds as many rows of the gate as of the up projection, so that a thread has both of a pair.
// FUSED: outputs are heads of queries, keys and values, normalized and rotated as they leave: queries to the beginning of their own head's place,
// keys and values to their page of the cache alone.
#include "wgmma.cuh"
#if FUSED
#include "heads.cuh"
#endif

#define STAGES SHAPE_A
#define ROWS_OF_TILE 128
#define WEIGHTS_OF_TILE 256
#define CLUSTER 2
#define BAND 8             // tiles along the rows that run side by side
#define OUTPUTS (GATED ? WEIGHTS_OF_TILE / 2 : WEIGHTS_OF_TILE)
#define SHARE (WEIGHTS_OF_TILE / CLUSTER)
#define SUMS (WEIGHTS_OF_TILE / 2)
#define INPUT_BYTES (ROWS_OF_TILE * 128)
#define STAGE_BYTES ((ROWS_OF_TILE + WEIGHTS_OF_TILE) * 128)

struct GemmArguments {
    TensorMap weight_map, input_map;
    T_OUT* output;         // [rows, outputs]
    const float* bias;
    int rows, outputs, columns;
#if FUSED
    Batch batch;
    HeadArguments heads;
    T_WEIGHT* cache;
#endif
};

// A tile of the cluster: first row of its first CTA, first output.
struct Tile {
    int row, output;
    DEVICE Tile(const GemmArguments& a, int index) {
        int across = tiles_across(a), along = tiles_along(a), band = index / (BAND * along) * BAND, rest = index - band * along, width = min(BAND, across - band);
        row = (band + rest % width) * ROWS_OF_TILE * CLUSTER;
        output = rest / width * OUTPUTS;
    }
    static DEVICE int tiles_across(const GemmArguments& a) { return (a.rows + ROWS_OF_TILE * CLUSTER - 1) / (ROWS_OF_TILE * CLUSTER); }
    static DEVICE int tiles_along(const GemmArguments& a) { return (a.outputs + OUTPUTS - 1) / OUTPUTS; }
    static DEVICE int count(const GemmArguments& a) { return tiles_across(a) * tiles_along(a); }
};

DEVICE void load(const GemmArguments& a, u32 ring, u32 full, u32 empty, int rank) {
    int blocks = (a.columns + 63) / 64, tiles = Tile::count(a), slot = 0, early = min(STAGES, blocks);
    u32 parity = 1;
    auto load_weights = [&](const Tile& tile, int block, int s) {
        barrier_expect(full + 8 * s, STAGE_BYTES);
        int first = tile.output + rank * (GATED ? a.outputs : SHARE);
        tensor_copy_to_all(ring + s * STAGE_BYTES + INPUT_BYTES + rank * SHARE * 128, &a.weight_map, block * 64, first, full + 8 * s, (1 << CLUSTER) - 1);
    };
    auto load_input = [&](const Tile& tile, int block, int s) { tensor_copy(ring + s * STAGE_BYTES, &a.input_map, block * 64, tile.row + rank * ROWS_OF_TILE, full + 8 * s); };
    int start = blockIdx.x / CLUSTER;
    for (int index = start; index < tiles; index += gridDim.x / CLUSTER) {
        Tile tile(a, index);
        int block = 0;
        if (index == start) {   // weights are on their way before the previous kernel ends
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

DEVICE float reciprocal_fast(float x) {
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
DEVICE float sigmoid_fast(float x) { return reciprocal_fast(1.f + exp2_fast(-LOG2_E * x)); }

// To within the rounding of 16 bits.
template <int A> DEVICE float activate_fast(float x) {
    if constexpr (A == 3) return x * sigmoid_fast(1.59576912160573072f * (x + 0.044715f * x * x * x));   // 1 + tanh(z) = 2 · sigmoid(2 z)
    else if constexpr (A == 4) return x * sigmoid_fast(x);
    else return activate<A>(x);
}

DEVICE void add_pair(float* to, float x, float y) { asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" :: "l"(to), "f"(x), "f"(y) : "memory"); }

DEVICE void add_bias(const GemmArguments& a, float (&sums)[SUMS], int output, int t) {
    if (!a.bias) return;
#pragma unroll
    for (int i = 0; i < OUTPUTS / 8; i++) {
        int column = output + i * 8 + 2 * t;
        if (column >= a.outputs) break;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            sums[4 * i + j] += a.bias[column + (j & 1)];
            if (GATED) sums[SUMS / 2 + 4 * i + j] += a.bias[a.outputs + column + (j & 1)];
        }
    }
}

#if !FUSED
// The lane's two rows of the warp's sixteen.
template <class T> DEVICE void finish(const GemmArguments& a, T* results, float (&sums)[SUMS], int row, int output, int t) {
    add_bias(a, sums, output, t);
#pragma unroll
    for (int i = 0; i < OUTPUTS / 2; i++) sums[i] = activate_fast<ACTIVATION>(sums[i]) * (GATED ? sums[SUMS / 2 + i] : 1.f);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        bool inside = row + 8 * h < a.rows;
        T* target = results + (i64)(row + 8 * h) * a.outputs + output;
        if constexpr (sizeof(T) == 4) {
#pragma unroll
            for (int i = 0; i < OUTPUTS / 8; i++) {
                if (!inside || output + i * 8 >= a.outputs) break;
                if (ACCUMULATE) add_pair(target + i * 8 + 2 * t, sums[4 * i + 2 * h], sums[4 * i + 2 * h + 1]);
                else *(float2*)(target + i * 8 + 2 * t) = make_float2(sums[4 * i + 2 * h], sums[4 * i + 2 * h + 1]);
            }
        } else {
            store_row<OUTPUTS / 8>([&](int i) { return Pair<T>::of(sums[4 * i + 2 * h], sums[4 * i + 2 * h + 1]); }, [&](int i) { return inside && output + i * 8 < a.outputs ? target + i * 8 : nullptr; }, t);
        }
    }
}
#else
#define TILE_HEADS (WEIGHTS_OF_TILE / HEAD_DIM)
#define ROTATED COLUMNS    // columns of a head

// Of one head and row: the lane's pairs of columns.
DEVICE void normalize(const HeadArguments& a, int kind, float (&sums)[SUMS], int first, int h, int t) {
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

DEVICE void finish(const GemmArguments& a, float* results, float (&sums)[SUMS], int row, int output, int t) {
    const int* data = a.batch.data;
    int head0 = output / HEAD_DIM, all = a.heads.heads + 2 * a.heads.kv_heads, rows = min(a.rows, a.batch.token_count());
    add_bias(a, sums, output, t);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = min(row + 8 * h, rows - 1), position = data[a.batch.positions + r], place = data[a.batch.kv_slots + r], token = place % PAGE;
        bool inside = row + 8 * h < rows;
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
            T_WEIGHT* query = (T_WEIGHT*)(results + (i64)r * a.outputs + head * HEAD_DIM);
            T_WEIGHT* page = a.cache + (((i64)(place / PAGE) * a.heads.kv_heads + kv_head) * 2 + (kind == VALUE)) * (PAGE * HEAD_DIM);
            auto word = [&](int i) {
                int at = n * (HEAD_DIM / 2) + 4 * i + 2 * h;
                return Pair<T_WEIGHT>::of(sums[at] * factor, sums[at + 1] * factor);
            };
            store_row<HEAD_DIM / 8>(word, [&](int i) { return !inside ? nullptr : kind == QUERY ? query + i * 8 : page + cached_place<T_WEIGHT, HEAD_DIM>(PAGE, token, i * 8); }, t);
        }
    }
}
#endif

DEVICE void multiply(const GemmArguments& a, u32 ring, u32 full, u32 empty, int rank) {
    int group = __shfl_sync(~0u, threadIdx.x >> 7, 0) - 1, warp = threadIdx.x >> 5 & 3, lane = threadIdx.x & 31;
    int blocks = (a.columns + 63) / 64, tiles = Tile::count(a), slot = 0;
    u32 parity = 0;
    float sums[SUMS];
    auto release = [&](int s) {
        if (lane == rank) barrier_arrive(empty + 8 * s);
        else if (lane < CLUSTER) barrier_arrive_at(empty + 8 * s, lane);
    };
    wait_for_previous();
    for (int index = blockIdx.x / CLUSTER; index < tiles; index += gridDim.x / CLUSTER) {
        Tile tile(a, index);
#pragma unroll
        for (int i = 0; i < SUMS; i++) sums[i] = 0.f;
        int previous = -1;
        for (int block = 0; block < blocks; block++) {
            barrier_wait(full + 8 * slot, parity);
            u32 input = ring + slot * STAGE_BYTES + group * 64 * 128, weights = ring + slot * STAGE_BYTES + INPUT_BYTES;
            wgmma_begin();
#pragma unroll
            for (int k = 0; k < 4; k++) Wgmma<T_WEIGHT, WEIGHTS_OF_TILE>::add(sums, wgmma_operand(input + k * 32), wgmma_operand(weights + k * 32));
            wgmma_commit();
            wgmma_wait<1>();
            if (previous >= 0) release(previous);
            previous = slot;
            if (++slot == STAGES) { slot = 0; parity ^= 1; }
        }
        wgmma_wait<0>();
        wgmma_settle(sums);
        release(previous);
        finish(a, a.output, sums, tile.row + rank * ROWS_OF_TILE + group * 64 + warp * 16 + (lane >> 2), tile.output, lane & 3);
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
    __syncwarp();
    cluster_arrive_relaxed();   // the fence above has made the barriers known
    cluster_wait();
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
    cluster_arrive_relaxed();   // a CTA stays while the other may write to it
    cluster_wait();
}
