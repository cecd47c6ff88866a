// Products of 5 to 128 rows on Hopper: the weights are the long side, BM of them a CTA; the rows of the input are the other. Tensor maps
// bring stages of 64-column blocks into shared memory in the swizzled layout that wgmma reads; one warp loads, GROUPS warpgroups multiply.
// BM is what spreads the weights evenly over the chip, so the last wgmma of a stage may read rows that are not the tile's; their sums are dropped.
// Few tiles: SPLITS CTAs of a cluster share the columns and add up through distributed shared memory. Weights are on their way before the
// previous kernel ends. Gated: a tile holds as many rows of the gate as of the up projection.
// A norm between two products may be divided among them: the first leaves its sum scaled by the norm's weights and parts of the sum's squares, the
// second multiplies its results by the norm's factor. Of more than 64 rows the longer ends cost more than the norm's own kernel, which runs beside the
// first loads of weights.
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

KERNEL __launch_bounds__(THREADS + 64) skinny(const __grid_constant__ SkinnyArguments a) {
    extern __shared__ __align__(1024) char unaligned[];
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    __shared__ float factors[BN];
    char* shared = (char*)(((u64)unaligned + 1023) & ~(u64)1023);
    u32 ring = shared_address(shared), full = shared_address(barriers), empty = full + 8 * STAGES;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, rank = blockIdx.x % SPLITS, first = blockIdx.x / SPLITS * OUTS;
    // Splits are multiples of 256 columns, however many blocks a stage has.
    int units = (a.columns + 255) / 256, begin = units * rank / SPLITS * (4 / BLOCKS);
    int count = min(units * (rank + 1) / SPLITS * (4 / BLOCKS), (a.columns + 64 * BLOCKS - 1) / (64 * BLOCKS)) - begin;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) { barrier_init(full + 8 * s, 1); barrier_init(empty + 8 * s, 4 * GROUPS); }
        barrier_init_fence();
    }
    __syncthreads();
    let_next_start();

    if (warp == 4 * GROUPS) {
        if (lane == 0) {
            auto load_weights = [&](int i, int s) {
                barrier_expect(full + 8 * s, STAGE_BYTES);
#pragma unroll
                for (int k = 0; k < BLOCKS; k++) {
                    int column = ((begin + i) * BLOCKS + k) * 64;
                    u32 target = ring + s * STAGE_BYTES + k * BM * 128;
                    tensor_copy(target, &a.weight_map, column, first, full + 8 * s);
                    if (GATED) tensor_copy(target + BM / 2 * 128, &a.weight_map, column, a.outputs + first, full + 8 * s);
                }
            };
            auto load_input = [&](int i, int s) {
#pragma unroll
                for (int k = 0; k < BLOCKS; k++) tensor_copy(ring + s * STAGE_BYTES + INPUT_OFFSET + k * BN * 128, &a.input_map, ((begin + i) * BLOCKS + k) * 64, 0, full + 8 * s);
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
        return;
    }

    if (DIVIDES && warp > 4 * GROUPS) {   // only there if it is needed
        wait_for_previous();
        add_squares(a, factors, lane);
        factors_ready();
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
    constexpr int TURNS = ((BN + SPLITS - 1) / SPLITS * QUADS + THREADS - 1) / THREADS;
    int from = a.rows * rank / SPLITS * QUADS + threadIdx.x, end = a.rows * (rank + 1) / SPLITS * QUADS;
    auto is_mine = [&](int v) { return v < end && first + v % QUADS * 4 < a.outputs; };
    float old[ACCUMULATE ? TURNS : 1][4];
    if (ACCUMULATE) {
#pragma unroll
        for (int turn = 0; turn < TURNS; turn++) {
            int v = from + turn * THREADS;
            if (is_mine(v)) load4(a.output + (i64)(v / QUADS) * a.outputs + first + v % QUADS * 4, old[ACCUMULATE ? turn : 0]);
        }
    }
    float gamma[4] = {0.f, 0.f, 0.f, 0.f};   // a thread has the same outputs in every turn
    if (LEAVES && a.next_gamma && first + threadIdx.x % QUADS * 4 < a.outputs) load4(a.next_gamma + first + threadIdx.x % QUADS * 4, gamma);
    // The finished tile goes through shared memory, [BN][PITCH]; the ring is free by now.
    float* tile = (float*)shared;
    if (DIVIDES && a.squares) await_factors();
    consumers_sync();
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        int m = tile_row + i * 64 + warp % 4 * 16 + (lane >> 2);
#pragma unroll
        for (int j = 0; j < BN / 2; j++)
            if (BM % (64 * GROUPS) == 0 || m + (j & 2) * 4 < BM) tile[((j >> 2) * 8 + (lane & 3) * 2 + (j & 1)) * PITCH + m + (j & 2) * 4] = sums[i][j];
    }
    if (SPLITS > 1) cluster_sync();
    else consumers_sync();
    auto total = [&](int row, int column, float (&t)[4]) {
        const float* p = tile + row * PITCH + column;
        load4(p, t);
        if constexpr (SPLITS > 1) {
            float4 parts[SPLITS];
#pragma unroll
            for (int q = 0; q < SPLITS; q++) parts[q] = load_remote4(p, q);
            t[0] = t[1] = t[2] = t[3] = 0.f;
#pragma unroll
            for (int q = 0; q < SPLITS; q++) { t[0] += parts[q].x; t[1] += parts[q].y; t[2] += parts[q].z; t[3] += parts[q].w; }
        }
    };
    float squares[TURNS];
#pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
        int v = from + turn * THREADS, row = v / QUADS, column = v % QUADS * 4, output = first + column;
        squares[turn] = 0.f;
        if (!is_mine(v)) continue;
        float values[4], factor = DIVIDES && a.squares ? factors[row] : 1.f;
        total(row, column, values);
        for (int i = 0; i < 4; i++) values[i] *= factor;
        if (a.bias) for (int i = 0; i < 4; i++) values[i] += a.bias[output + i];
        for (int i = 0; i < 4; i++) values[i] = activate<ACTIVATION>(values[i]);
        if (GATED) {
            float up[4];
            total(row, BM / 2 + column, up);
            for (int i = 0; i < 4; i++) values[i] *= up[i] * factor + (a.bias ? a.bias[a.outputs + output + i] : 0.f);
        }
        if (ACCUMULATE) for (int i = 0; i < 4; i++) values[i] += old[ACCUMULATE ? turn : 0][i];
        store4(a.output + (i64)row * a.outputs + output, values);
        if (LEAVES && a.next_gamma) {
            float scaled[4];
            for (int i = 0; i < 4; i++) {
                scaled[i] = values[i] * gamma[i];
                squares[turn] += values[i] * values[i];
            }
            store4(a.next_input + (i64)row * a.outputs + output, scaled);
        }
    }
    if (LEAVES && a.next_gamma) {
#pragma unroll
        for (int o = 1; o < QUADS; o <<= 1)
#pragma unroll
            for (int turn = 0; turn < TURNS; turn++) squares[turn] += __shfl_xor_sync(~0u, squares[turn], o);
#pragma unroll
        for (int turn = 0; turn < TURNS; turn++) {
            int v = from + turn * THREADS;
            if (v < end && v % QUADS == 0) a.next_squares[first / OUTS * BN + v / QUADS] = squares[turn];
        }
    }
    if (SPLITS > 1) cluster_sync();
}
