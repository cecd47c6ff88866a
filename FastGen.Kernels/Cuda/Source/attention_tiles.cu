// Attention of prompts and prompt chunks on tensor cores: a CTA of 4 warps for each (tile of 64 packed rows, key/value head). A packed row is a
// new token and a query head of the group, so heads that share keys share their loads. Keys and values come by 64 tokens, two stages deep.
#include "tensorcores.cuh"
#include "tiles.cuh"

#define PAGE_BYTES (16 * HEAD_DIM * 2 * 2)
#define STAGE_PAGES 4
#define STAGE_BYTES (STAGE_PAGES * PAGE_BYTES)
#define TILE_ROWS 64
#define SWIZZLED ((HEAD_DIM * 2) % 128 == 0)
#define HELD (HEAD_DIM <= 128)   // queries stay in registers

// Of 16 bytes of a token of a page: see the cache's layout in common.cuh.
DEVICE u32 chunk_offset(int row, int chunk) {
    return SWIZZLED ? (chunk >> 3) * 2048 + row * 128 + (((chunk & 7) ^ (row & 7)) << 4) : row * (HEAD_DIM * 2) + (chunk << 4);
}
// Of a token of a stage: its key; its value lies half a page further.
DEVICE u32 token_offset(int token, int chunk) { return token / 16 * PAGE_BYTES + chunk_offset(token % 16, chunk); }

KERNEL __launch_bounds__(128) attention_tiles(const TilesArguments a) {
    extern __shared__ __align__(128) char shared[];   // two stages, then the queries
#if HOPPER
    __shared__ __align__(8) u64 barriers[2];
#endif
    int tid = threadIdx.x, warp = tid >> 5, lane = tid & 31, g = lane >> 2, t = lane & 3, head = blockIdx.y;
    if (blockIdx.x >= a.plan[1]) return;
    Tile<TILE_ROWS, 16 * STAGE_PAGES> item(a, blockIdx.x);
    int rows = item.rows, first = item.first, low = item.position(first), high = item.high, begin = item.begin, end = item.end;
    u32 stages = shared_address(shared), queries = stages + 2 * STAGE_BYTES;
    auto page_address = [&](int p) { return (const char*)a.cache + item.page(a, p, head) * PAGE_BYTES; };
#if HOPPER
    u32 barrier = shared_address(barriers);
    auto fetch = [&](int tile, int s) {
        if (tid != 0) return;
        int pages = item.pages(tile);
        barrier_expect(barrier + 8 * s, pages * PAGE_BYTES);
        for (int p = 0; p < pages; p++) bulk_copy(stages + s * STAGE_BYTES + p * PAGE_BYTES, page_address(tile * STAGE_PAGES + p), PAGE_BYTES, barrier + 8 * s);
    };
    if (tid == 0) { barrier_init(barrier, 1); barrier_init(barrier + 8, 1); barrier_init_fence(); }
    __syncthreads();
#else
    auto fetch = [&](int tile, int s) {
        int pages = item.pages(tile);
        for (int p = 0; p < pages; p++) {
            const char* from = page_address(tile * STAGE_PAGES + p);
            for (int i = tid * 16; i < PAGE_BYTES; i += 2048) copy16(stages + s * STAGE_BYTES + p * PAGE_BYTES + i, from + i, true);
        }
        commit_copies();
    };
#endif
    let_next_start();
    wait_for_previous();
    fetch(begin, 0);
    if (begin + 1 < end) fetch(begin + 1, 1);
    constexpr int CHUNKS = HEAD_DIM / 8;
    for (int i = tid; i < TILE_ROWS * CHUNKS; i += 128) {
        int r = i / CHUNKS, c = i % CHUNKS, packed = first + min(r, rows - 1);
        uint4 v = *(const uint4*)(a.packed_query(item.start, packed, head) + c * 8);
        *(uint4*)(shared + 2 * STAGE_BYTES + r / 16 * (PAGE_BYTES / 2) + chunk_offset(r % 16, c)) = v;
    }
    __syncthreads();
    auto load_query = [&](u32 (&r)[4], int k) { load_matrices(r, queries + warp * (PAGE_BYTES / 2) + chunk_offset(lane & 15, 2 * k + (lane >> 4))); };
    u32 held[HELD ? HEAD_DIM / 16 : 1][4];
    if (HELD) {
#pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; k++) load_query(held[HELD ? k : 0], k);
    }
    float o[HEAD_DIM / 8][4], m[2] = {NOTHING, NOTHING}, l[2] = {0.f, 0.f}, slope[2], scale = a.scale * LOG2_E;
    int position[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int packed = first + min(warp * 16 + g + 8 * h, rows - 1);
        position[h] = item.position(packed);
        slope[h] = a.slope(packed, head);
    }
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 8; i++) for (int j = 0; j < 4; j++) o[i][j] = 0.f;

    for (int tile = begin; tile < end; tile++) {
        int s = (tile - begin) & 1;
#if HOPPER
        barrier_wait(barrier + 8 * s, ((tile - begin) >> 1) & 1);
#else
        if (tile + 1 < end) wait_for_copies<1>();
        else wait_for_copies<0>();
        __syncthreads();
#endif
        u32 keys = stages + s * STAGE_BYTES, values = keys + PAGE_BYTES / 2;
        if (tile == end - 1) {   // what lies past the tile's last position must not reach the sums, not even as 0 · NaN
            for (int i = tid; i < 64 * CHUNKS; i += 128) {
                int token = i / CHUNKS;
                if (tile * 64 + token > high) *(uint4*)(shared + s * STAGE_BYTES + PAGE_BYTES / 2 + token_offset(token, i % CHUNKS)) = make_uint4(0, 0, 0, 0);
            }
            __syncthreads();
        }
        float score[8][4];
#pragma unroll
        for (int n = 0; n < 8; n++) for (int j = 0; j < 4; j++) score[n][j] = 0.f;
#pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; k++) {
            u32 loaded[4];
            if (!HELD) load_query(loaded, k);
            const u32(&query)[4] = HELD ? held[HELD ? k : 0] : loaded;
#pragma unroll
            for (int n = 0; n < 4; n++) {
                u32 b[4];
                load_matrices(b, keys + token_offset(n * 16 + (lane & 7) + ((lane >> 4) << 3), 2 * k + ((lane >> 3) & 1)));
                Mma<T_IN>::add(score[2 * n], query, b[0], b[1]);
                Mma<T_IN>::add(score[2 * n + 1], query, b[2], b[3]);
            }
        }
        bool masked = tile * 64 + 63 > low || (a.window && tile * 64 <= high - a.window);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float raised = m[h];
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    float& v = score[n][2 * h + j];
                    int key = tile * 64 + n * 8 + 2 * t + j;
                    v = v * scale + slope[h] * (key - position[h]);
                    if (masked && (key > position[h] || (a.window && key <= position[h] - a.window))) v = NOTHING;
                    raised = fmaxf(raised, v);
                }
            raised = fmaxf(raised, __shfl_xor_sync(~0u, raised, 1));
            raised = fmaxf(raised, __shfl_xor_sync(~0u, raised, 2));
            float shrink = exp2_fast(m[h] - raised), sum = 0.f;
            m[h] = raised;
            // A row that has seen no key yet keeps weights of zero.
            float bias = raised == NOTHING ? 0.f : raised;
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    float& v = score[n][2 * h + j];
                    v = exp2_fast(v - bias);
                    sum += v;
                }
            l[h] = l[h] * shrink + sum;
#pragma unroll
            for (int i = 0; i < HEAD_DIM / 8; i++) { o[i][2 * h] *= shrink; o[i][2 * h + 1] *= shrink; }
        }
#pragma unroll
        for (int n = 0; n < 4; n++) {
            u32 p[4] = {Pair<T_IN>::of(score[2 * n][0], score[2 * n][1]), Pair<T_IN>::of(score[2 * n][2], score[2 * n][3]),
                        Pair<T_IN>::of(score[2 * n + 1][0], score[2 * n + 1][1]), Pair<T_IN>::of(score[2 * n + 1][2], score[2 * n + 1][3])};
#pragma unroll
            for (int i = 0; i < HEAD_DIM / 16; i++) {
                u32 b[4];
                load_matrices_transposed(b, values + token_offset(n * 16 + (lane & 15), 2 * i + (lane >> 4)));
                Mma<T_IN>::add(o[2 * i], p, b[0], b[1]);
                Mma<T_IN>::add(o[2 * i + 1], p, b[2], b[3]);
            }
        }
#if HOPPER
        fence_async_proxy();
#endif
        __syncthreads();
        if (tile + 2 < end) fetch(tile + 2, s);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        l[h] += __shfl_xor_sync(~0u, l[h], 1);
        l[h] += __shfl_xor_sync(~0u, l[h], 2);
        int r = warp * 16 + g + 8 * h;
        if (r >= rows) continue;
        T_IN* target = a.result(item.start, first + r, head);
        float inverse = 1.f / l[h];
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) *(u32*)(target + i * 8 + 2 * t) = Pair<T_IN>::of(o[i][2 * h] * inverse, o[i][2 * h + 1] * inverse);
    }
}
