// Attention of prompts and prompt chunks on Hopper: tiles of 128 packed rows (a row for each new token and head of the group), two warpgroups of
// 64 rows, and a warp that brings keys and values by 128 tokens, two stages deep. Both products are wgmma: scores from queries and keys in shared
// memory, then weights in registers times values as they lie in the cache.
#include "wgmma.cuh"

#define PANELS (HEAD_DIM / 64)
#define PANEL_PAGE 2048                     // bytes of a panel of a page: 16 tokens of 128 bytes
#define PANEL_BYTES (128 * 128)             // of 128 tokens, or of the queries of both warpgroups
#define HALF_STAGE (PANELS * PANEL_BYTES)   // keys, or values
#define TILE_TOKENS 128
#define TILE_ROWS 128
#define NOTHING -1e30f

struct TilesArguments {
    Batch batch;
    const int* plan;            // its second int counts the tiles
    const T_IN* qkv;
    const T_IN* cache;
    T_IN* output;
    const int* block_tables;
    const float* slopes;
    float scale;
    int heads, kv_heads, window, block_size, blocks_per_sequence;
    const int* tiles;           // sequence, first packed row
};

DEVICE void warpgroup_sync(int group) { asm volatile("bar.sync %0, 128;" :: "r"(group + 1) : "memory"); }

KERNEL __launch_bounds__(288, 1) attention_wgmma(const TilesArguments a) {
    extern __shared__ char unaligned[];   // queries, then two stages
    __shared__ __align__(8) u64 barriers[4];
    char* shared = (char*)(((u64)unaligned + 1023) & ~(u64)1023);
    if (blockIdx.x >= a.plan[1]) return;
    int tid = threadIdx.x, warp = tid >> 5, lane = tid & 31, g = lane >> 2, t = lane & 3, head = blockIdx.y;
    const int* data = a.batch.data;
    int sequence = a.tiles[2 * blockIdx.x], first = a.tiles[2 * blockIdx.x + 1], slot = data[a.batch.sequence_slots + sequence];
    int start = data[a.batch.starts + sequence], count = data[a.batch.starts + sequence + 1] - start, before = data[a.batch.context_lengths + sequence] - count;
    int rows = min(TILE_ROWS, count * GROUP - first), low = before + first / GROUP, high = before + (first + rows - 1) / GROUP;   // positions of the tile
    int oldest = a.window ? max(0, low - a.window + 1) : 0, begin = oldest / TILE_TOKENS, end = high / TILE_TOKENS + 1, groups = rows > 64 ? 2 : 1;
    u32 queries = shared_address(shared), stages = queries + HALF_STAGE, full = shared_address(barriers), empty = full + 16;
    if (tid == 0) {
        for (int s = 0; s < 2; s++) { barrier_init(full + 8 * s, 1); barrier_init(empty + 8 * s, 4 * groups); }
        barrier_init_fence();
    }
    __syncthreads();
    let_next_start();
    wait_for_previous();

    if (warp == 8) {   // loads: a lane takes a panel of a page at a time
        const int* blocks = a.block_tables + (i64)slot * a.blocks_per_sequence;
        int per_block = a.block_size / 16;
        for (int tile = begin; tile < end; tile++) {
            int s = (tile - begin) & 1, lap = (tile - begin) >> 1, pages = min(8, high / 16 + 1 - tile * 8);
            if (lap) barrier_wait(empty + 8 * s, (lap - 1) & 1);
            if (lane == 0) barrier_expect(full + 8 * s, pages * PANELS * 2 * PANEL_PAGE);
            __syncwarp();
            for (int i = lane; i < pages * PANELS * 2; i += 32) {
                int p = i / (PANELS * 2), panel = i % (PANELS * 2), page = tile * 8 + p;
                const char* from = (const char*)a.cache + (((i64)blocks[page / per_block] * per_block + page % per_block) * a.kv_heads + head) * (PANELS * 2 * PANEL_PAGE);
                bulk_copy(stages + s * 2 * HALF_STAGE + panel * PANEL_BYTES + p * PANEL_PAGE, from + panel * PANEL_PAGE, PANEL_PAGE, full + 8 * s);
            }
        }
        return;
    }
    int group = warp >> 2, own = group * 64;
    if (own >= rows) return;
    int columns = (a.heads + 2 * a.kv_heads) * HEAD_DIM;
    for (int i = tid & 127; i < 64 * PANELS * 8; i += 128) {
        int r = i / (PANELS * 8), c = i % (PANELS * 8), packed = first + min(own + r, rows - 1);
        uint4 v = *(const uint4*)(a.qkv + (i64)(start + packed / GROUP) * columns + (head * GROUP + packed % GROUP) * HEAD_DIM + c * 8);
        *(uint4*)(shared + (c >> 3) * PANEL_BYTES + (own + r) * 128 + (((c & 7) ^ (r & 7)) << 4)) = v;
    }
    publish_to_wgmma();
    warpgroup_sync(group);

    float o[HEAD_DIM / 2], m[2] = {NOTHING, NOTHING}, l[2] = {0.f, 0.f}, slope[2] = {0.f, 0.f}, scale = a.scale * 1.44269504f;
    int position[2], last = before + (first + min(own + 64, rows) - 1) / GROUP, earliest = before + (first + own) / GROUP;   // of this warpgroup
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int packed = first + min(own + (warp & 3) * 16 + g + 8 * h, rows - 1);
        position[h] = before + packed / GROUP;
        if (a.slopes) slope[h] = a.slopes[head * GROUP + packed % GROUP] * 1.44269504f;
    }
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 2; i++) o[i] = 0.f;

    for (int tile = begin; tile < end; tile++) {
        int s = (tile - begin) & 1;
        u32 keys = stages + s * 2 * HALF_STAGE, values = keys + HALF_STAGE;
        barrier_wait(full + 8 * s, ((tile - begin) >> 1) & 1);
        if (tile * TILE_TOKENS <= last) {
            if (tile == end - 1) {   // what lies past the tile's last position must not reach the sums, not even as 0 · NaN
                int used = high + 1 - tile * TILE_TOKENS;
                for (int i = tid & 127; i < (TILE_TOKENS - used) * PANELS * 8; i += 128) {
                    int token = used + i / (PANELS * 8), c = i % (PANELS * 8);
                    *(uint4*)(shared + (values - queries) + (c >> 3) * PANEL_BYTES + token * 128 + ((c & 7) << 4)) = make_uint4(0, 0, 0, 0);
                }
                publish_to_wgmma();
                warpgroup_sync(group);
            }
            float score[TILE_TOKENS / 2];
#pragma unroll
            for (int i = 0; i < TILE_TOKENS / 2; i++) score[i] = 0.f;
            wgmma_begin();
#pragma unroll
            for (int k = 0; k < HEAD_DIM / 16; k++)
                Wgmma<T_IN, TILE_TOKENS>::add(score, wgmma_operand(queries + (k / 4) * PANEL_BYTES + own * 128 + (k % 4) * 32), wgmma_operand(keys + (k / 4) * PANEL_BYTES + (k % 4) * 32));
            wgmma_finish();
            bool masked = tile * TILE_TOKENS + TILE_TOKENS - 1 > earliest || (a.window && tile * TILE_TOKENS <= last - a.window);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float raised = m[h];
                if (masked || a.slopes) {
#pragma unroll
                    for (int i = 0; i < TILE_TOKENS / 4; i++) {
                        float& v = score[(i >> 1) * 4 + 2 * h + (i & 1)];
                        int key = tile * TILE_TOKENS + (i >> 1) * 8 + 2 * t + (i & 1);
                        v = v * scale + slope[h] * (key - position[h]);
                        if (key > position[h] || (a.window && key <= position[h] - a.window)) v = NOTHING;
                        raised = fmaxf(raised, v);
                    }
                } else {
                    // The largest of the raw scores serves where the scale is positive.
                    float largest = score[2 * h];
#pragma unroll
                    for (int i = 0; i < TILE_TOKENS / 4; i++) largest = fmaxf(largest, score[(i >> 1) * 4 + 2 * h + (i & 1)]);
                    raised = fmaxf(raised, largest * scale);
                }
                raised = fmaxf(raised, __shfl_xor_sync(~0u, raised, 1));
                raised = fmaxf(raised, __shfl_xor_sync(~0u, raised, 2));
                float shrink = exp2_fast(m[h] - raised), sum = 0.f, bias = raised == NOTHING ? 0.f : raised, factor = masked || a.slopes ? 1.f : scale;
                m[h] = raised;
#pragma unroll
                for (int i = 0; i < TILE_TOKENS / 4; i++) {
                    float& v = score[(i >> 1) * 4 + 2 * h + (i & 1)];
                    v = exp2_fast(fmaf(v, factor, -bias));
                    sum += v;
                }
                l[h] = l[h] * shrink + sum;
#pragma unroll
                for (int i = 0; i < HEAD_DIM / 8; i++) { o[i * 4 + 2 * h] *= shrink; o[i * 4 + 2 * h + 1] *= shrink; }
            }
            u32 weights[TILE_TOKENS / 16][4];
#pragma unroll
            for (int n = 0; n < TILE_TOKENS / 16; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) weights[n][i] = Pair<T_IN>::of(score[8 * n + 2 * i], score[8 * n + 2 * i + 1]);
            wgmma_begin();
#pragma unroll
            for (int n = 0; n < TILE_TOKENS / 16; n++) WgmmaHeld<T_IN, HEAD_DIM>::add(o, weights[n], wgmma_operand_by_rows(values + n * PANEL_PAGE, PANEL_BYTES));
            wgmma_finish();
        }
        __syncwarp();
        if (lane == 0) barrier_arrive(empty + 8 * s);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        l[h] += __shfl_xor_sync(~0u, l[h], 1);
        l[h] += __shfl_xor_sync(~0u, l[h], 2);
        int r = own + (warp & 3) * 16 + g + 8 * h;
        if (r >= rows) continue;
        int packed = first + r;
        T_IN* target = a.output + ((i64)(start + packed / GROUP) * a.heads + head * GROUP + packed % GROUP) * HEAD_DIM;
        float inverse = 1.f / l[h];
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) *(u32*)(target + i * 8 + 2 * t) = Pair<T_IN>::of(o[i * 4 + 2 * h] * inverse, o[i * 4 + 2 * h + 1] * inverse);
    }
}
