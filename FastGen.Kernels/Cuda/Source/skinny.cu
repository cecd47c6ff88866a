// Products of 5 to 128 rows on Hopper: the weights are the long side, BM of them a CTA; the rows of the input are the other. Tensor maps
// bring stages of 64-column blocks into shared memory in the swizzled layout that wgmma reads; one warp loads, GROUPS warpgroups multiply.
// BM is what spreads the weights evenly over the chip, so the last wgmma of a stage may read rows that are not the tile's; their sums are dropped.
// Few tiles: SPLITS CTAs of a cluster share the columns; each sends the others their share of the rows, into shared memory. Weights are on their
// way before the previous kernel ends. Gated: a tile holds as many rows of the gate as of the up projection.
// A norm between two products may be divided among them: the first leaves its sum scaled by the norm's weights and parts of the sum's squares, the
// second multiplies its results by the norm's factor. Of more than 64 rows the longer ends cost more than the norm's own kernel, which runs beside the
// first loads of weights.
// Of two products in one kernel the tiles of the second follow those of the first (BESIDE), or its columns do (JOINED).
#include "wgmma.cuh"

#define BM SHAPE_A          // a multiple of 8, gated of 16
#define BN SHAPE_B
#define BLOCKS SHAPE_C      // of 64 columns, a stage
#define STAGES SHAPE_D
#define GROUPS ROWS
#define SPLITS COLUMNS
#define HELD ((BM + 64 * GROUPS - 1) / (64 * GROUPS))   // tiles of 64 weight rows, a warpgroup
#define THREADS (128 * GROUPS)                          // that multiply
#define OUTS (GATED ? BM / 2 : BM)
#define STAGE_BYTES ((BM + BN) * 128 * BLOCKS)
#define INPUT_OFFSET (BM * 128 * BLOCKS)
#define PITCH (BM + 4)
#define QUADS (OUTS / 4)    // of outputs, in a row of the tile
#define PART (BN / SPLITS * PITCH)                      // floats that a CTA sends another at most
#define TILE_BYTES (BN * PITCH * 4)
#define RECEIVED_OFFSET (STAGES * STAGE_BYTES > TILE_BYTES ? STAGES * STAGE_BYTES : TILE_BYTES)
#define DIVIDES (BN <= 64)
#define LEAVES (DIVIDES && ACCUMULATE && !GATED && QUADS <= 32 && (QUADS & (QUADS - 1)) == 0)

struct SkinnyArguments {
    TensorMap weight_map, input_map;
    T_OUT* output;              // [rows, outputs]
    const float* bias;
    const float* squares;       // [parts][BN], of the input before it was scaled; null if the input is what it should be
    const float* next_gamma;    // of the norm that follows; null for none
    T_WEIGHT* next_input;       // [rows, outputs]
    float* next_squares;        // [tiles][BN]
    int rows, outputs, columns, parts;
    float epsilon;
};

struct PairArguments {
    SkinnyArguments first;
    TensorMap weight_map, input_map;   // input_map: JOINED
    T_WEIGHT* output;                  // [rows, outputs]: BESIDE
    const float* bias;
    int outputs, first_tiles;          // BESIDE
    int first_columns;                 // JOINED, whole blocks; the first's columns are those of both
};

#if SECOND
typedef PairArguments Arguments;
#else
typedef SkinnyArguments Arguments;
#endif

DEVICE void consumers_sync() { asm volatile("bar.sync 1, %0;" :: "n"(THREADS) : "memory"); }
DEVICE void factors_ready() { asm volatile("bar.arrive 2, %0;" :: "n"(THREADS + 32) : "memory"); }
DEVICE void await_factors() { asm volatile("bar.sync 2, %0;" :: "n"(THREADS + 32) : "memory"); }

DEVICE void store4(float* p, const float (&v)[4]) { *(float4*)p = make_float4(v[0], v[1], v[2], v[3]); }
template <class T> DEVICE void store4(T* p, const float (&v)[4]) { *(uint2*)p = make_uint2(Pair<T>::of(v[0], v[1]), Pair<T>::of(v[2], v[3])); }
DEVICE void load4(const float* p, float (&v)[4]) { float4 f = *(const float4*)p; v[0] = f.x; v[1] = f.y; v[2] = f.z; v[3] = f.w; }
template <class T> DEVICE void load4(const T* p, float (&v)[4]) {
    uint2 w = *(const uint2*)p;
    v[0] = Pair<T>::low(w.x); v[1] = Pair<T>::high(w.x); v[2] = Pair<T>::low(w.y); v[3] = Pair<T>::high(w.y);
}

// By one warp: each row's factor of the norm.
DEVICE void add_squares(const SkinnyArguments& a, float* factors, int lane) {
    constexpr int LANES = BN / 4;
    float sums[4] = {0.f, 0.f, 0.f, 0.f};
#pragma unroll 16
    for (int part = lane / LANES; part < a.parts; part += 32 / LANES) {
        float squares[4];
        load4(a.squares + part * BN + lane % LANES * 4, squares);
        for (int i = 0; i < 4; i++) sums[i] += squares[i];
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int o = LANES; o < 32; o <<= 1) sums[i] += __shfl_xor_sync(~0u, sums[i], o);
        if (lane < LANES) factors[lane * 4 + i] = rsqrtf(sums[i] / a.columns + a.epsilon);
    }
}

KERNEL __launch_bounds__(THREADS + 64) skinny(const __grid_constant__ Arguments arguments) {
#if SECOND
    const PairArguments& pair = arguments;
    const SkinnyArguments& a = arguments.first;
#else
    const SkinnyArguments& a = arguments;
#endif
    extern __shared__ __align__(1024) char unaligned[];
    __shared__ __align__(8) u64 barriers[2 * STAGES + 1];
    __shared__ float factors[BN];
    char* shared = (char*)(((u64)unaligned + 1023) & ~(u64)1023);
    u32 ring = shared_address(shared), full = shared_address(barriers), empty = full + 8 * STAGES, all_received = empty + 8 * STAGES;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, rank = blockIdx.x % SPLITS, tile_index = blockIdx.x / SPLITS, outputs = a.outputs;
    const float* bias = a.bias;
    const TensorMap* weight_map = &a.weight_map;
    bool second = false;
#if BESIDE
    second = tile_index >= pair.first_tiles;
    if (second) {
        tile_index -= pair.first_tiles;
        outputs = pair.outputs;
        bias = pair.bias;
        weight_map = &pair.weight_map;
    }
#endif
    int first = tile_index * OUTS;
    int owned = (a.rows + SPLITS - 1) / SPLITS;   // rows that the CTA finishes
    // Splits are multiples of 256 columns, however many blocks a stage has.
    int units = (a.columns + 255) / 256, begin = units * rank / SPLITS * (4 / BLOCKS);
    int count = min(units * (rank + 1) / SPLITS * (4 / BLOCKS), (a.columns + 64 * BLOCKS - 1) / (64 * BLOCKS)) - begin;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) { barrier_init(full + 8 * s, 1); barrier_init(empty + 8 * s, 4 * GROUPS); }
        if (SPLITS > 1) {
            barrier_init(all_received, 1);
            barrier_expect(all_received, (SPLITS - 1) * owned * PITCH * 4);
        }
        barrier_init_fence();
    }
    __syncthreads();
    if (SPLITS > 1) cluster_arrive_relaxed();   // the fence above has made the barriers known
    let_next_start();

    if (warp == 4 * GROUPS) {
        if (lane == 0) {
            auto load_weights = [&](int i, int s) {
                barrier_expect(full + 8 * s, STAGE_BYTES);
#pragma unroll
                for (int k = 0; k < BLOCKS; k++) {
                    int column = ((begin + i) * BLOCKS + k) * 64;
                    const TensorMap* map = weight_map;
#if JOINED
                    if (column >= pair.first_columns) { column -= pair.first_columns; map = &pair.weight_map; }
#endif
                    u32 target = ring + s * STAGE_BYTES + k * BM * 128;
                    tensor_copy(target, map, column, first, full + 8 * s);
                    if (GATED) tensor_copy(target + BM / 2 * 128, map, column, outputs + first, full + 8 * s);
                }
            };
            auto load_input = [&](int i, int s) {
#pragma unroll
                for (int k = 0; k < BLOCKS; k++) {
                    int column = ((begin + i) * BLOCKS + k) * 64;
                    const TensorMap* map = &a.input_map;
#if JOINED
                    if (column >= pair.first_columns) { column -= pair.first_columns; map = &pair.input_map; }
#endif
                    tensor_copy(ring + s * STAGE_BYTES + INPUT_OFFSET + k * BN * 128, map, column, 0, full + 8 * s);
                }
            };
            int early = min(STAGES, count);
            for (int i = 0; i < early; i++) load_weights(i, i);
            wait_for_previous();
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
        __syncwarp();
        if (SPLITS > 1) cluster_wait();
        return;
    }

    if (DIVIDES && warp > 4 * GROUPS) {   // only there if it is needed
        wait_for_previous();
        add_squares(a, factors, lane);
        factors_ready();
        if (SPLITS > 1) cluster_wait();
        return;
    }

    wait_for_previous();
    int tile_row = warp / 4 * HELD * 64;   // the warpgroup's first weight row of the tile
    float sums[HELD][BN / 2];
#pragma unroll
    for (int i = 0; i < HELD; i++)
#pragma unroll
        for (int j = 0; j < BN / 2; j++) sums[i][j] = 0.f;
    auto multiply = [&](int s, u32 parity) {
        barrier_wait(full + 8 * s, parity);
        u32 weights = ring + s * STAGE_BYTES + tile_row * 128, input = ring + s * STAGE_BYTES + INPUT_OFFSET;
        wgmma_begin();
#pragma unroll
        for (int k = 0; k < 4 * BLOCKS; k++)
#pragma unroll
            for (int i = 0; i < HELD; i++)
                Wgmma<T_WEIGHT, BN>::add(sums[i], wgmma_operand(weights + (k / 4) * BM * 128 + i * 8192 + (k % 4) * 32), wgmma_operand(input + (k / 4) * BN * 128 + (k % 4) * 32));
        wgmma_commit();
    };
    if (count <= STAGES) {   // all of it is in the ring: no stage need be free before the end
        for (int b = 0; b < count; b++) multiply(b, 0);
        wgmma_wait();
    } else {
        int s = 0;
        u32 parity = 0;
        for (int b = 0; b < count; b++) {
            multiply(s, parity);
            wgmma_wait();
            if (lane == 0) barrier_arrive(empty + 8 * s);
            if (++s == STAGES) { s = 0; parity ^= 1; }
        }
    }

    // The CTA's share of the rows, four outputs a turn. What they are added to is fetched while the sums travel.
    constexpr int TURNS = (BN / SPLITS * QUADS + THREADS - 1) / THREADS;
    int begin_row = owned * rank, end = min(owned, a.rows - begin_row) * QUADS;
    auto is_mine = [&](int v) { return v < end && first + v % QUADS * 4 < outputs; };
    auto place_of = [&](int v) { return (i64)(begin_row + v / QUADS) * outputs + first + v % QUADS * 4; };
    float old[ACCUMULATE ? TURNS : 1][4];
    if (ACCUMULATE) {
#pragma unroll
        for (int turn = 0; turn < TURNS; turn++) {
            int v = threadIdx.x + turn * THREADS;
            if (is_mine(v)) load4(a.output + place_of(v), old[ACCUMULATE ? turn : 0]);
        }
    }
    float gamma[4] = {0.f, 0.f, 0.f, 0.f};   // a thread has the same outputs in every turn
    if (LEAVES && a.next_gamma && first + threadIdx.x % QUADS * 4 < outputs) load4(a.next_gamma + first + threadIdx.x % QUADS * 4, gamma);
    // The finished tile goes through shared memory, [BN][PITCH]; the ring is free by now.
    float* tile = (float*)shared;
    const float* received = (const float*)(shared + RECEIVED_OFFSET);   // [SPLITS - 1][rows][PITCH], by the senders' ranks
    if (DIVIDES && a.squares) await_factors();
    consumers_sync();
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        int m = tile_row + i * 64 + warp % 4 * 16 + (lane >> 2);
#pragma unroll
        for (int j = 0; j < BN / 2; j++)
            if (BM % (64 * GROUPS) == 0 || m + (j & 2) * 4 < BM) tile[((j >> 2) * 8 + (lane & 3) * 2 + (j & 1)) * PITCH + m + (j & 2) * 4] = sums[i][j];
    }
    if (SPLITS > 1) fence_async_proxy();
    consumers_sync();
    if (SPLITS > 1) {
        cluster_wait();
        int to = threadIdx.x;
        if (to < SPLITS && to != rank)
            bulk_send(shared_address(received + (rank - (rank > to)) * PART), shared_address(tile + to * owned * PITCH), owned * PITCH * 4, all_received, to);
        __syncwarp();
        barrier_wait(all_received, 0);
        cluster_arrive_relaxed();   // what the others sent has been read from their shared memory
    }
    // In the order of ranks, wherever they are added up.
    auto total = [&](int v, int column, float (&t)[4]) {
        int row = v / QUADS;
#pragma unroll
        for (int q = 0; q < SPLITS; q++) {
            float part[4];
            load4(q == rank || SPLITS == 1 ? tile + (begin_row + row) * PITCH + column : received + (q - (q > rank)) * PART + row * PITCH + column, part);
            for (int i = 0; i < 4; i++) t[i] = q ? t[i] + part[i] : part[i];
        }
    };
    float values[TURNS][4], ups[GATED ? TURNS : 1][4], squares[TURNS];
#pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
        int v = min((int)threadIdx.x + turn * THREADS, owned * QUADS - 1), column = v % QUADS * 4;
        total(v, column, values[turn]);
        if (GATED) total(v, BM / 2 + column, ups[GATED ? turn : 0]);
    }
#pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
        int v = threadIdx.x + turn * THREADS, output = first + v % QUADS * 4;
        float (&value)[4] = values[turn];
        squares[turn] = 0.f;
        if (!is_mine(v)) continue;
        float factor = DIVIDES && a.squares ? factors[begin_row + v / QUADS] : 1.f;
        for (int i = 0; i < 4; i++) value[i] = value[i] * factor + (bias ? bias[output + i] : 0.f);
#if JOINED
        if (pair.bias) for (int i = 0; i < 4; i++) value[i] += pair.bias[output + i];
#endif
        if (!BESIDE || second) for (int i = 0; i < 4; i++) value[i] = activate<ACTIVATION>(value[i]);
#if BESIDE
        if (second) {
            store4(pair.output + place_of(v), value);
            continue;
        }
#endif
        if (GATED) for (int i = 0; i < 4; i++) value[i] *= ups[GATED ? turn : 0][i] * factor + (bias ? bias[outputs + output + i] : 0.f);
        if (ACCUMULATE) for (int i = 0; i < 4; i++) value[i] += old[ACCUMULATE ? turn : 0][i];
        store4(a.output + place_of(v), value);
        if (LEAVES && a.next_gamma) {
            float scaled[4];
            for (int i = 0; i < 4; i++) {
                scaled[i] = value[i] * gamma[i];
                squares[turn] += value[i] * value[i];
            }
            store4(a.next_input + place_of(v), scaled);
        }
    }
    if (LEAVES && a.next_gamma) {
#pragma unroll
        for (int o = 1; o < QUADS; o <<= 1)
#pragma unroll
            for (int turn = 0; turn < TURNS; turn++) squares[turn] += __shfl_xor_sync(~0u, squares[turn], o);
#pragma unroll
        for (int turn = 0; turn < TURNS; turn++) {
            int v = threadIdx.x + turn * THREADS;
            if (v < end && v % QUADS == 0) a.next_squares[first / OUTS * BN + begin_row + v / QUADS] = squares[turn];
        }
    }
    if (SPLITS > 1) cluster_wait();
}
