// Products of few rows an expert, on mma.sync: output = activation(gate) ⊙ up, or plain. Weights go straight from memory into registers in the
// order that mma's operand wants: columns may be multiplied in any order, so a lane's 16 bytes of a weight row serve two steps. The warps of a CTA
// split the columns, so that it reads whole rows, and keep their part of the input in registers while the tiles of 16 weight rows pass; a CTA takes
// an even share of all tiles of all experts that have visits. The columns may be cut in PARTS, whose sums the next kernel adds.
#include "experts.cuh"

#define WARPS SHAPE_A       // across a part's columns
#define TILES SHAPE_B       // of 8 rows of the input
#define PARTS SHAPE_C
#define DEPTH SHAPE_D       // blocks in flight a warp: BLOCKS, or an even divisor of it
#define THREADS (WARPS * 32)
#define PART_BLOCKS (((COLUMNS + 31) / 32 + PARTS - 1) / PARTS)   // of 32 columns
#define BLOCKS ((PART_BLOCKS + WARPS - 1) / WARPS)
#define EXACT (COLUMNS == PARTS * WARPS * BLOCKS * 32)
#define BATCH ((DEPTH + 1) / 2)   // blocks multiplied, then fetched again
#define OUTS (GATED ? 8 : 16)   // of a tile

struct StreamArguments {
    const T_WEIGHT* input;      // [rows or visits, COLUMNS]
    const T_WEIGHT* weights;    // [experts, outputs, COLUMNS]; gated: [experts, 2 · outputs, COLUMNS]
    T_OUT* output;              // [PARTS, visits, outputs]
    const int* starts;
    const int* sources;         // row of the input of each visit; null: the visit itself
    i64 part;                   // values between two parts of the output
    int experts, outputs;       // outputs: at least OUTS
};

// A CTA's work in order: unit, part, tile.
struct Walk {
    ExpertUnit unit;
    int part, tile;
    DEVICE void advance(const int* starts, int experts, int tiles) {
        if (++tile < tiles) return;
        tile = 0;
        if (++part < PARTS) return;
        part = 0;
        unit.advance(starts, experts, 8 * TILES);
    }
};

KERNEL __launch_bounds__(THREADS, 16 / WARPS) experts_stream(const StreamArguments a) {
    extern __shared__ __align__(16) char shared[];
    float4* partial = (float4*)shared;                      // [2][WARPS][TILES][32]
    int* starts = (int*)(partial + 2 * WARPS * TILES * 32);
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    if (GATED) wait_for_previous();
    let_next_start();   // gated: now that routing has ended, so that the next kernel finds `starts` before it waits
    load_starts(starts, a.starts, a.experts);
    __syncthreads();

    Walk now;
    int tiles = (a.outputs + OUTS - 1) / OUTS, each = PARTS * tiles;
    i64 total = (i64)count_units(starts, a.experts, 8 * TILES, lane) * each;
    int item = (int)(total * blockIdx.x / gridDim.x), end = (int)(total * (blockIdx.x + 1) / gridDim.x);
    if (item == end) {
        wait_for_previous();
        return;
    }
    now.unit.seek(starts, a.experts, 8 * TILES, item / each, lane);
    now.part = item % each / tiles;
    now.tile = item % tiles;

    // The lane's weights of an item: rows g and g + 8 of the tile, or row g of the gate and of the up projection. The last tile may overlap
    // the one before.
    i64 other = (i64)(GATED ? a.outputs : 8) * COLUMNS;
    const T_WEIGHT* from;
    auto first_column = [&](const Walk& at) { return (at.part * PART_BLOCKS + warp * BLOCKS) * 32 + t * 8; };
    auto first_output = [&](const Walk& at) { return min(at.tile * OUTS, a.outputs - OUTS); };
    auto inside = [&](int part, int column) { return EXACT || column < min((part + 1) * PART_BLOCKS * 32, COLUMNS); };
    auto aim = [&](const Walk& at) { from = a.weights + ((i64)at.unit.expert * (GATED ? 2 : 1) * a.outputs + first_output(at) + g) * COLUMNS + first_column(at); };
    uint4 w[DEPTH][2];
    auto fetch = [&](int part, int b) {
        bool here = EXACT || inside(part, (part * PART_BLOCKS + warp * BLOCKS + b) * 32 + t * 8);
        w[b % DEPTH][0] = here ? load_stream(from + b * 32) : make_uint4(0, 0, 0, 0);
        w[b % DEPTH][1] = here ? load_stream(from + other + b * 32) : make_uint4(0, 0, 0, 0);
    };
    aim(now);
#pragma unroll
    for (int b = 0; b < DEPTH; b++) fetch(now.part, b);
    if (!GATED) wait_for_previous();

    uint4 x[TILES][BLOCKS];
    auto load_input = [&](const Walk& at) {
        int column = first_column(at);
#pragma unroll
        for (int j = 0; j < TILES; j++) {
            int visit = at.unit.first + j * 8 + g;
            bool here = visit < at.unit.end;
            const T_WEIGHT* row = a.input + (i64)(!here ? 0 : a.sources ? a.sources[visit] : visit) * COLUMNS + column;
#pragma unroll
            for (int b = 0; b < BLOCKS; b++) x[j][b] = here && inside(at.part, column + b * 32) ? *(const uint4*)(row + b * 32) : make_uint4(0, 0, 0, 0);
        }
    };
    load_input(now);
    while (true) {
        float sums[TILES][4];
#pragma unroll
        for (int j = 0; j < TILES; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) sums[j][i] = 0.f;
        int output0 = first_output(now), first = now.unit.first, rows = now.unit.end - first, part = now.part;
        bool more = item + 1 < end;
        if (more) now.advance(starts, a.experts, tiles);
#pragma unroll
        for (int b0 = 0; b0 < BLOCKS; b0 += BATCH) {
            constexpr int LAST = BLOCKS - 1;
#pragma unroll
            for (int b = b0; b < b0 + BATCH; b++) {
                if (b > LAST) continue;
                uint4 l = w[b % DEPTH][0], h = w[b % DEPTH][1];
                u32 even[4] = {l.x, h.x, l.y, h.y}, odd[4] = {l.z, h.z, l.w, h.w};
#pragma unroll
                for (int j = 0; j < TILES; j++) {
                    Mma<T_WEIGHT>::add(sums[j], even, x[j][b].x, x[j][b].y);
                    Mma<T_WEIGHT>::add(sums[j], odd, x[j][b].z, x[j][b].w);
                }
            }
            if (b0 + DEPTH == BLOCKS) aim(now);
#pragma unroll
            for (int b = b0; b < b0 + BATCH; b++) {
                if (b > LAST) continue;
                if (b + DEPTH < BLOCKS) fetch(part, b + DEPTH);
                else if (more) fetch(now.part, b + DEPTH - BLOCKS);
            }
        }
        // Lanes are crossed so that reading by rows meets no bank twice.
        float4* to = partial + (item & 1) * WARPS * TILES * 32;
#pragma unroll
        for (int j = 0; j < TILES; j++) to[(warp * TILES + j) * 32 + (lane ^ (g >> 1))] = make_float4(sums[j][0], sums[j][1], sums[j][2], sums[j][3]);
        __syncthreads();
        auto add_up = [&](int row, int n) {
            const float* p = (const float*)(to + (n >> 3) * 32 + (((row & 7) * 4 + ((n & 7) >> 1)) ^ ((row & 7) >> 1))) + (n & 1) + (row & 8) / 4;
            float sum = 0.f;
#pragma unroll
            for (int q = 0; q < WARPS; q++) sum += p[q * TILES * 128];
            return sum;
        };
        // The warps take turns.
        for (int i = (threadIdx.x + (item & 15) * (OUTS * 8 * TILES)) % THREADS; i < OUTS * 8 * TILES; i += THREADS) {
            int row = i % OUTS, n = i / OUTS;
            if (n >= rows) continue;
            float v = add_up(row, n);
            if (GATED) v = activate<ACTIVATION>(v) * add_up(row + 8, n);
            a.output[part * a.part + (i64)(first + n) * a.outputs + output0 + row] = from_float<T_OUT>(v);
        }
        if (!more) break;
        item++;
        if (now.tile == 0) load_input(now);
    }
}
