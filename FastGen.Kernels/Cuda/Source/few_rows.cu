// Products of 2 to 8 rows on Hopper: output = activation(norm(input) · weightᵀ + bias), gated or added to the output. Rows of the weights, as they
// lie in memory, stream through a ring of bulk copies, 16 rows a tile. The warps of a CTA split the columns; each lane keeps its part of the input
// in registers, so that the loop reads nothing but weights from shared memory. A chunk is 32 columns, of which a lane has eight in a row: the
// operands of mma.sync may have their columns in any order that both share. Copies are a tenth slower where source and target are not aligned
// alike; so the rows of a stage all begin at the same bank, and of two chunks the odd rows read the second first. Weights are on their way before
// the previous kernel ends. The norm's factor of a row is applied to the sums; where the kernel before has left a norm half done (skinny.cu), it is
// from the squares that it left.
#include "tensorcores.cuh"
#include "row_product.cuh"

#define WARPS SHAPE_A      // that multiply
#define PIECE SHAPE_B      // chunks of a weight row in a stage, a multiple of WARPS
#define STAGES SHAPE_C
#define THREADS (WARPS * 32)
#define BN 8               // rows of the input, padded
#define CHUNKS (COLUMNS / 32)
#define PIECES ((CHUNKS + PIECE - 1) / PIECE)
#define PER_STAGE (PIECE / WARPS)
#define HELD (PIECES * PER_STAGE)
#define PITCH (PIECE * 64)               // bytes between rows of a stage
#define STAGE_BYTES (16 * PITCH)
#define SUMS (16 * BN)
#define OUTS (GATED ? 8 : 16)            // of a tile

struct FewRowsArguments {
    RowProductArguments product;
    const float* squares;   // [parts][BN], of an input that a norm's weights have scaled; null if it is what it should be
    int parts;
};

DEVICE void multiplying_warps_sync() { asm volatile("bar.sync 1, %0;" :: "n"(THREADS) : "memory"); }

DEVICE uint4 load_shared16(u32 address) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address) : "memory");
    return v;
}

// Of short inputs two CTAs fit by their registers: room for the next kernel's.
KERNEL __launch_bounds__(THREADS + 32, HELD <= 4 ? 2 : 1) few_rows(const FewRowsArguments arguments) {
    const RowProductArguments& a = arguments.product;
    extern __shared__ __align__(128) char shared[];   // [STAGES][16][PITCH], then the warps' sums [2][WARPS][SUMS]
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    __shared__ float squares[WARPS][BN];
    float* sums = (float*)(shared + STAGES * STAGE_BYTES);
    u32 ring = shared_address(shared), full = shared_address(barriers), empty = full + 8 * STAGES;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    // An even share of the outputs, to one.
    i64 outputs = a.outputs + (BESIDE ? a.second_outputs : 0);
    int first = (int)(outputs * blockIdx.x / gridDim.x), count = (int)(outputs * (blockIdx.x + 1) / gridDim.x) - first, tiles = (count + OUTS - 1) / OUTS;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) { barrier_init(full + 8 * s, 1); barrier_init(empty + 8 * s, WARPS); }
        barrier_init_fence();
    }
    __syncthreads();
    let_next_start();

    if (warp == WARPS) {
        // A lane has one row of the tile, gated: of gate and up projection eight each.
        int out = GATED ? lane & 7 : lane, s = 0;
        u32 parity = 1;
        for (int tile = 0; tile < tiles; tile++) {
            int valid = min(OUTS, count - tile * OUTS), output = first + tile * OUTS + out;
            const T_WEIGHT* row = BESIDE && output >= a.outputs ? a.second_weights + (i64)(output - a.outputs) * COLUMNS : a.weights + (i64)(output + (GATED && lane >= 8 ? a.outputs : 0)) * COLUMNS;
            for (int piece = 0; piece < PIECES; piece++) {
                u32 bytes = min(PIECE, CHUNKS - piece * PIECE) * 64;
                barrier_wait(empty + 8 * s, parity);
                if (lane == 0) barrier_expect(full + 8 * s, bytes * valid * (GATED ? 2 : 1));
                __syncwarp();
                if (lane < 16 && out < valid) bulk_copy(ring + s * STAGE_BYTES + lane * PITCH, row + piece * PIECE * 32, bytes, full + 8 * s);
                if (++s == STAGES) { s = 0; parity ^= 1; }
            }
        }
        return;
    }

    int g = lane >> 2, t = lane & 3, first_read = (g & 1) * 64;
    auto chunk_of = [&](int h) { return h / PER_STAGE * PIECE + warp * PER_STAGE + h % PER_STAGE; };
    auto has = [&](int h) { return CHUNKS == PIECES * PIECE || chunk_of(h) < CHUNKS; };
    float gamma[NORM ? HELD : 1][8];
    if (NORM) {
#pragma unroll
        for (int h = 0; h < HELD; h++) if (has(h)) load8(a.gamma + chunk_of(h) * 32 + t * 8, gamma[NORM ? h : 0]);
    }
    wait_for_previous();
    uint4 x[HELD];
    const T_IN* input = a.input + (i64)min(g, a.rows - 1) * COLUMNS + t * 8;
    float squared = 0.f;
#pragma unroll
    for (int h = 0; h < HELD; h++) {
        x[h] = make_uint4(0, 0, 0, 0);
        if (!has(h)) continue;
        if constexpr (NORM) {
            float v[8];
            load8(input + chunk_of(h) * 32, v);
#pragma unroll
            for (int i = 0; i < 8; i++) { squared += v[i] * v[i]; v[i] *= gamma[h][i]; }
            x[h] = make_uint4(Pair<T_WEIGHT>::of(v[0], v[1]), Pair<T_WEIGHT>::of(v[2], v[3]), Pair<T_WEIGHT>::of(v[4], v[5]), Pair<T_WEIGHT>::of(v[6], v[7]));
        } else {
            x[h] = *(const uint4*)(input + chunk_of(h) * 32);
        }
    }
    bool normed = NORM || arguments.squares;
    if (!NORM && normed) for (int part = warp * 4 + t; part < arguments.parts; part += WARPS * 4) squared += arguments.squares[part * BN + g];
    if (normed) {
        squared += __shfl_xor_sync(~0u, squared, 1);
        squared += __shfl_xor_sync(~0u, squared, 2);
        if (t == 0) squares[warp][g] = squared;
    }

    // A thread that adds the warps' sums has the same row of the input in every tile.
    int row = threadIdx.x % BN;
    float factor = 1.f;
    auto total = [&](const float* from) {
        float v = 0.f;
#pragma unroll
        for (int w = 0; w < WARPS; w++) v += from[w * SUMS];
        return v * factor;
    };
    int s = 0;
    u32 parity = 0;
    for (int tile = 0; tile < tiles; tile++) {
        float d[4] = {0.f, 0.f, 0.f, 0.f};
        auto multiply = [&](uint4 low, uint4 high, uint4 v) {
            u32 front[4] = {low.x, high.x, low.y, high.y}, back[4] = {low.z, high.z, low.w, high.w};
            Mma<T_WEIGHT>::add(d, front, v.x, v.y);
            Mma<T_WEIGHT>::add(d, back, v.z, v.w);
        };
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
            barrier_wait(full + 8 * s, parity);
            u32 from = ring + s * STAGE_BYTES + g * PITCH + warp * PER_STAGE * 64 + t * 16;
#pragma unroll
            for (int j = 0; j < PER_STAGE; j += 2) {
                int h = piece * PER_STAGE + j;
                u32 low = from + j * 64, high = low + 8 * PITCH;
                if (j + 1 < PER_STAGE && has(h + 1)) {
                    uint4 low0 = load_shared16(low + first_read), low1 = load_shared16(low + 64 - first_read), high0 = load_shared16(high + first_read), high1 = load_shared16(high + 64 - first_read);
                    multiply(first_read ? low1 : low0, first_read ? high1 : high0, x[h]);
                    multiply(first_read ? low0 : low1, first_read ? high0 : high1, x[h + 1 < HELD ? h + 1 : h]);
                } else if (has(h)) {
                    multiply(load_shared16(low), load_shared16(high), x[h]);
                }
            }
            fence_async_proxy();
            __syncwarp();
            if (lane == 0) barrier_arrive(empty + 8 * s);
            if (++s == STAGES) { s = 0; parity ^= 1; }
        }
        // Two buffers in turn: who still adds the last tile's sums meets the others before they write there again.
        float* buffer = sums + (tile & 1) * WARPS * SUMS;
        float* to = buffer + warp * SUMS + g * BN + t * 2;
        *(float2*)to = make_float2(d[0], d[1]);
        *(float2*)(to + 8 * BN) = make_float2(d[2], d[3]);
        int out = threadIdx.x / BN, output = first + tile * OUTS + out;
        bool mine = out < min(OUTS, count - tile * OUTS) && row < a.rows, second = BESIDE && output >= a.outputs;
        T_OUT* place = a.output + (i64)row * a.outputs + output;
        float old = ACCUMULATE && mine ? to_float(*place) : 0.f;   // on its way while the warps meet
        multiplying_warps_sync();
        if (normed && tile == 0) {
            float all = 0.f;
#pragma unroll
            for (int w = 0; w < WARPS; w++) all += squares[w][row];
            factor = rsqrtf(all / COLUMNS + a.epsilon);
        }
        if (!mine) continue;
        float v = total(buffer + threadIdx.x);
        if (second) {
            output -= a.outputs;
            if (a.second_bias) v += a.second_bias[output];
            a.second_output[(i64)row * a.second_outputs + output] = from_float<T_WEIGHT>(activate<ACTIVATION>(v));
            continue;
        }
        if (a.bias) v += a.bias[output];
        if (!BESIDE) v = activate<ACTIVATION>(v);
        if (GATED) {
            float up = total(buffer + 8 * BN + threadIdx.x);
            v *= a.bias ? up + a.bias[a.outputs + output] : up;
        }
        *place = from_float<T_OUT>(ACCUMULATE ? old + v : v);
    }
}
