// Products of 2 to 32 rows on Hopper: output = activation(norm(input) · weightᵀ + bias), gated or added to the output. Whole rows of the weights, as
// they lie in memory, stream through a ring of bulk copies, 16 rows a tile: what a copy of the whole matrix would read, and no more. The warps of a
// CTA split the columns; each lane keeps its part of the input in registers, so that the loop reads nothing but weights from shared memory. A chunk
// is 32 columns, of which a lane has eight in a row: operands of mma.sync may have their columns in any order that both share. Weights are on their
// way before the previous kernel ends. The norm's factor of a row is applied to the sums. SPLITS CTAs of a cluster share the columns where the
// registers of one do not hold the input.
#include "tensorcores.cuh"

#define WARPS SHAPE_A      // that multiply
#define BN SHAPE_B         // rows of the input, padded
#define PIECE SHAPE_C      // chunks of a weight row in a stage, a multiple of WARPS
#define STAGES SHAPE_D
#define SPLITS ROWS
#define THREADS (WARPS * 32)
#define CHUNKS (COLUMNS / 32 / SPLITS)   // of this CTA
#define PIECES ((CHUNKS + PIECE - 1) / PIECE)
#define PER_STAGE (PIECE / WARPS)
#define HELD (PIECES * PER_STAGE)
#define PITCH (PIECE * 64 + 64)          // bytes between rows of a stage: two rows of four lanes meet no bank twice
#define STAGE_BYTES (16 * PITCH)
#define SUMS (16 * BN)
#define BUFFERS (BN <= 16 ? 2 : 1)       // of the warps' sums
#define OUTS (GATED ? 8 : 16)            // of a tile
#define BLOCKS (BN / 8)

struct FewRowsArguments {
    const T_IN* input;          // [rows, COLUMNS]
    const T_WEIGHT* weights;    // [outputs, COLUMNS]; gated: [2 · outputs, COLUMNS]
    T_OUT* output;              // [rows, outputs]
    const float* gamma;
    const float* bias;
    float epsilon;
    int outputs, rows;          // rows: up to BN
};

DEVICE void multiplying_warps_sync() { asm volatile("bar.sync 1, %0;" :: "n"(THREADS) : "memory"); }

DEVICE uint4 load_shared16(u32 address) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address) : "memory");
    return v;
}

KERNEL __launch_bounds__(THREADS + 32) few_rows(const FewRowsArguments a) {
    extern __shared__ __align__(128) char shared[];   // [STAGES][16][PITCH], then the warps' sums [BUFFERS][WARPS][SUMS], then the tiles' of a cluster [tiles][SUMS]
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    __shared__ float squares[NORM ? WARPS : 1][BN];
    float* sums = (float*)(shared + STAGES * STAGE_BYTES);
    float* finished = sums + BUFFERS * WARPS * SUMS;
    u32 ring = shared_address(shared), full = shared_address(barriers), empty = full + 8 * STAGES;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, rank = blockIdx.x % SPLITS;
    // An even share of the outputs, to one.
    int group = blockIdx.x / SPLITS, groups = gridDim.x / SPLITS;
    int first = (int)((i64)a.outputs * group / groups), count = (int)((i64)a.outputs * (group + 1) / groups) - first, tiles = (count + OUTS - 1) / OUTS;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) { barrier_init(full + 8 * s, 1); barrier_init(empty + 8 * s, WARPS); }
        barrier_init_fence();
    }
    __syncthreads();
    let_next_start();

    if (warp == WARPS) {
        // A lane has one row of the tile, gated: of gate and up projection eight each.
        int out = GATED ? lane & 7 : lane, s = 0;
        const T_WEIGHT* row = a.weights + (i64)(first + out + (GATED && lane >= 8 ? a.outputs : 0)) * COLUMNS + rank * CHUNKS * 32;
        u32 parity = 1;
        for (int tile = 0; tile < tiles; tile++, row += (i64)OUTS * COLUMNS) {
            int valid = min(OUTS, count - tile * OUTS);
            bool mine = lane < 16 && out < valid;
            for (int piece = 0; piece < PIECES; piece++) {
                u32 bytes = min(PIECE, CHUNKS - piece * PIECE) * 64;
                barrier_wait(empty + 8 * s, parity);
                if (lane == 0) barrier_expect(full + 8 * s, bytes * valid * (GATED ? 2 : 1));
                __syncwarp();
                if (mine) bulk_copy(ring + s * STAGE_BYTES + lane * PITCH, row + piece * PIECE * 32, bytes, full + 8 * s);
                if (++s == STAGES) { s = 0; parity ^= 1; }
            }
        }
        __syncwarp();
        if (SPLITS > 1) { cluster_sync(); cluster_sync(); }
        return;
    }

    int g = lane >> 2, t = lane & 3;
    auto chunk_of = [&](int h) { return h / PER_STAGE * PIECE + h % PER_STAGE * WARPS + warp; };
    auto has = [&](int h) { return CHUNKS == PIECES * PIECE || chunk_of(h) < CHUNKS; };
    uint4 x[HELD][BLOCKS];
    float gamma[NORM ? HELD : 1][8];
    if (NORM) {
#pragma unroll
        for (int h = 0; h < HELD; h++) if (has(h)) load8(a.gamma + (rank * CHUNKS + chunk_of(h)) * 32 + t * 8, gamma[NORM ? h : 0]);
    }
    wait_for_previous();
#pragma unroll
    for (int n = 0; n < BLOCKS; n++) {
        const T_IN* p = a.input + (i64)min(n * 8 + g, a.rows - 1) * COLUMNS + rank * CHUNKS * 32 + t * 8;
        float squared = 0.f;
#pragma unroll
        for (int h = 0; h < HELD; h++) {
            x[h][n] = make_uint4(0, 0, 0, 0);
            if (!has(h)) continue;
            if constexpr (NORM) {
                float v[8];
                load8(p + chunk_of(h) * 32, v);
#pragma unroll
                for (int i = 0; i < 8; i++) { squared += v[i] * v[i]; v[i] *= gamma[h][i]; }
                x[h][n] = make_uint4(Pair<T_WEIGHT>::of(v[0], v[1]), Pair<T_WEIGHT>::of(v[2], v[3]), Pair<T_WEIGHT>::of(v[4], v[5]), Pair<T_WEIGHT>::of(v[6], v[7]));
            } else {
                x[h][n] = *(const uint4*)(p + chunk_of(h) * 32);
            }
        }
        if (NORM) {
            squared += __shfl_xor_sync(~0u, squared, 1);
            squared += __shfl_xor_sync(~0u, squared, 2);
            if (t == 0) squares[NORM ? warp : 0][n * 8 + g] = squared;
        }
    }

    auto place = [&](int tile, int i) { return a.output + (i64)(i % BN) * a.outputs + first + tile * OUTS + i / BN; };
    auto is_output = [&](int tile, int i) { return i % BN < a.rows && tile * OUTS + i / BN < count; };
    auto finish = [&](int tile, int i, float v, float up, float old) {
        int output = first + tile * OUTS + i / BN;
        if (a.bias) v += a.bias[output];
        v = activate<ACTIVATION>(v);
        if (GATED) v *= a.bias ? up + a.bias[a.outputs + output] : up;
        *place(tile, i) = from_float<T_OUT>(ACCUMULATE ? old + v : v);
    };
    // Threads that add the warps' sums have one row of the input each, so that its factor is computed once.
    float factor = 0.f;
    auto total = [&](const float* from) {
        float v = 0.f;
#pragma unroll
        for (int w = 0; w < WARPS; w++) v += from[w * SUMS];
        return v;
    };
    int s = 0;
    u32 parity = 0;
    for (int tile = 0; tile < tiles; tile++) {
        float d[BLOCKS][4];
#pragma unroll
        for (int n = 0; n < BLOCKS; n++) d[n][0] = d[n][1] = d[n][2] = d[n][3] = 0.f;
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
            barrier_wait(full + 8 * s, parity);
            u32 from = ring + s * STAGE_BYTES + g * PITCH + warp * 64 + t * 16;
#pragma unroll
            for (int j = 0; j < PER_STAGE; j++) {
                int h = piece * PER_STAGE + j;
                if (!has(h)) continue;
                uint4 low = load_shared16(from + j * WARPS * 64), high = load_shared16(from + 8 * PITCH + j * WARPS * 64);
                u32 front[4] = {low.x, high.x, low.y, high.y}, back[4] = {low.z, high.z, low.w, high.w};
#pragma unroll
                for (int n = 0; n < BLOCKS; n++) {
                    Mma<T_WEIGHT>::add(d[n], front, x[h][n].x, x[h][n].y);
                    Mma<T_WEIGHT>::add(d[n], back, x[h][n].z, x[h][n].w);
                }
            }
            __syncwarp();
            if (lane == 0) barrier_arrive(empty + 8 * s);
            if (++s == STAGES) { s = 0; parity ^= 1; }
        }
        float* buffer = sums + (BUFFERS == 2 ? tile & 1 : 0) * WARPS * SUMS;
        if (BUFFERS == 1 && tile > 0) multiplying_warps_sync();
#pragma unroll
        for (int n = 0; n < BLOCKS; n++) {
            float* to = buffer + warp * SUMS + g * BN + n * 8 + t * 2;
            *(float2*)to = make_float2(d[n][0], d[n][1]);
            *(float2*)(to + 8 * BN) = make_float2(d[n][2], d[n][3]);
        }
        // What sums are added to is fetched while the warps meet.
        constexpr int TURNS = (OUTS * BN + THREADS - 1) / THREADS;
        float old[TURNS];
#pragma unroll
        for (int turn = 0; turn < TURNS; turn++) {
            int i = turn * THREADS + threadIdx.x;
            old[turn] = 0.f;
            if (ACCUMULATE && SPLITS == 1 && i < OUTS * BN && is_output(tile, i)) old[turn] = to_float(*place(tile, i));
        }
        multiplying_warps_sync();
        if (NORM && tile == 0) {
            float squared = 0.f;
#pragma unroll
            for (int w = 0; w < WARPS; w++) squared += squares[NORM ? w : 0][threadIdx.x % BN];
            factor = rsqrtf(squared / COLUMNS + a.epsilon);
        }
        if constexpr (SPLITS > 1) {
            for (int i = threadIdx.x; i < SUMS; i += THREADS) finished[tile * SUMS + i] = total(buffer + i);
        } else {
#pragma unroll
            for (int turn = 0; turn < TURNS; turn++) {
                int i = turn * THREADS + threadIdx.x;
                if (i >= OUTS * BN || !is_output(tile, i)) continue;
                float v = total(buffer + i), up = GATED ? total(buffer + 8 * BN + i) : 0.f;
                if (NORM) { v *= factor; up *= factor; }
                finish(tile, i, v, up, old[turn]);
            }
        }
    }
    if constexpr (SPLITS > 1) {
        cluster_sync();
        // Each CTA finishes its share of the tiles.
        auto both = [&](const float* p) {
            float v = 0.f;
#pragma unroll
            for (int q = 0; q < SPLITS; q++) v += load_remote(p, q);
            return v;
        };
        int end = tiles * (rank + 1) / SPLITS * OUTS * BN;
        for (int k = tiles * rank / SPLITS * OUTS * BN + threadIdx.x; k < end; k += THREADS) {
            int tile = k / (OUTS * BN), i = k % (OUTS * BN);
            if (!is_output(tile, i)) continue;
            const float* p = finished + tile * SUMS + i;
            finish(tile, i, both(p), GATED ? both(p + 8 * BN) : 0.f, ACCUMULATE ? to_float(*place(tile, i)) : 0.f);
        }
        cluster_sync();
    }
}
