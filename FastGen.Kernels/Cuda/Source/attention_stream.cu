// Attention of many sequences with one new token each, on Hopper: as attention_split.cu with one split, but a CTA takes one sequence and head
// after another, and its warps' rings of pages run on from each to the next, so that reading never pauses. Does what store_kv.cu does on the way.
#include "attention_page.cuh"

#define STAGES SHAPE_A
#define QUERIES ((GROUP + 3) / 4)   // of a warp

// A sequence and key/value head.
struct Item {
    int sequence, head, context, first_page, pages;   // pages: of the context's window
    const int* blocks;
};

// What becomes of a token's row, in a warp: some of the group's queries, and the new key or value.
struct Row {
    float queries[QUERIES][PER_LANE], extra[PER_LANE];
    HeadFactors query_factors, key_factors;
};

KERNEL __launch_bounds__(128, HEAD_DIM > 128 ? 1 : 2) attention_stream(const SplitArguments a) {
    extern __shared__ __align__(128) char rings[];   // [4][STAGES] pages, then the warps' sums
    __shared__ __align__(16) T_IN q[GROUP * QUERY_PITCH], fresh[2][HEAD_DIM];
    __shared__ float largest[4 * GROUP], weight[4 * GROUP];
    __shared__ __align__(8) u64 barriers[4 * STAGES];
    float* parts = (float*)(rings + 4 * STAGES * PAGE_BYTES);
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, items = a.plan[0] * a.kv_heads, per_block = a.block_size / 16;
    const int* data = a.batch.data;
    let_next_start();
    // The plan's sequences come with the longest contexts first; turns run to and fro, so that CTAs get like amounts.
    auto item_of = [&](int turn) {
        int n = turn * gridDim.x + (turn & 1 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
        Item item = {};
        if (n >= items) return item;
        item.sequence = a.plan[2 + n / a.kv_heads];
        item.head = n % a.kv_heads;
        item.context = data[a.batch.context_lengths + item.sequence];
        item.blocks = a.block_tables + (i64)data[a.batch.sequence_slots + item.sequence] * a.blocks_per_sequence;
        item.first_page = (a.window ? max(0, item.context - a.window) : 0) / 16;
        item.pages = (item.context + 15) / 16 - item.first_page;
        return item;
    };
    auto page_address = [&](const Item& item, int p, int block) { return (char*)a.cache + (((i64)block * per_block + p % per_block) * a.kv_heads + item.head) * PAGE_BYTES; };

    // The ring's end: the warp's pages of this item and those that follow, in order.
    u32 ring = shared_address(rings) + warp * STAGES * PAGE_BYTES, barrier = shared_address(barriers + warp * STAGES);
    Item ahead = item_of(0);
    int ahead_turn = 0, fetched = 0, own_block = 0, slot = 0;
    auto fetch = [&]() {
        while (ahead.pages && warp + 4 * fetched >= ahead.pages) { ahead = item_of(++ahead_turn); fetched = 0; }
        if (!ahead.pages) return;
        int p = ahead.first_page + warp + 4 * fetched, own = p + 4 * lane;
        if (fetched % 32 == 0) own_block = own < ahead.first_page + ahead.pages ? ahead.blocks[own / per_block] : 0;
        const char* from = page_address(ahead, p, __shfl_sync(~0u, own_block, fetched++ % 32));
        if (lane == 0) { barrier_expect(barrier + 8 * slot, PAGE_BYTES); bulk_copy(ring + slot * PAGE_BYTES, from, PAGE_BYTES, barrier + 8 * slot); }
        if (++slot == STAGES) slot = 0;
    };
    if (lane == 0) {
        for (int s = 0; s < STAGES; s++) barrier_init(barrier + 8 * s, 1);
        barrier_init_fence();
    }
    __syncwarp();
    for (int s = 0; s < STAGES; s++) fetch();

    int extra = warp == GROUP % 4 ? KEY : warp == (GROUP + 1) % 4 ? VALUE : QUERY;
    Row row;
    auto load_factors_of = [&](const Item& item) {
        int position = item.context - 1, rotary_row = position + data[a.batch.rotary_bases + item.sequence];
        load_factors(a.heads_in, QUERY, position, rotary_row, row.query_factors, lane);
        if (extra == KEY) load_factors(a.heads_in, KEY, position, rotary_row, row.key_factors, lane);
    };
    auto load_row = [&](const Item& item) {
        const T_IN* vectors = a.qkv + (i64)data[a.batch.starts + item.sequence] * (a.heads + 2 * a.kv_heads) * HEAD_DIM;
#pragma unroll
        for (int i = 0; i < QUERIES; i++) if (warp + 4 * i < GROUP) load_head(vectors + (item.head * GROUP + warp + 4 * i) * HEAD_DIM, row.queries[i], lane);
        if (extra != QUERY) load_head(vectors + (a.heads + (extra == VALUE ? a.kv_heads : 0) + item.head) * HEAD_DIM, row.extra, lane);
    };
    Item item = item_of(0);
    if (item.pages) load_factors_of(item);
    wait_for_previous();
    if (item.pages) load_row(item);
    int s = 0;
    u32 parity = 0;
    float scale = a.scale * 1.44269504f;
    for (int turn = 0; item.pages; ) {
        int last = (item.context - 1) / 16, end = item.first_page + item.pages, position = item.context - 1, oldest = a.window ? max(0, item.context - a.window) : 0;
#pragma unroll
        for (int i = 0; i < QUERIES; i++) {
            if (warp + 4 * i >= GROUP) continue;
            finish_head(a.heads_in, QUERY, row.query_factors, row.queries[i], lane);
            store_head(q + (warp + 4 * i) * QUERY_PITCH, row.queries[i], lane);
        }
        if (extra != QUERY) {
            if (extra == KEY) finish_head(a.heads_in, KEY, row.key_factors, row.extra, lane);
            store_head(fresh[extra == VALUE], row.extra, lane);
            cache_head((T_IN*)(page_address(item, last, item.blocks[last / per_block]) + (extra == VALUE ? PAGE_BYTES / 2 : 0)), 16, position & 15, row.extra, lane);
        }
        __syncthreads();
        Queries queries;
        Running sums;
        queries.load(q, lane);
        sums.clear();
        float slope[2];
        load_slopes(a, item.head, lane, slope);
        for (int p = item.first_page + warp; p < end; p += 4) {
            barrier_wait(barrier + 8 * s, parity);
            if (p == last) {
                finish_page(rings + (warp * STAGES + s) * PAGE_BYTES, item.context - p * 16, fresh, lane);
                asm volatile("fence.proxy.async.shared::cta;" ::: "memory");   // the next copy into these bytes comes after what was written here
            }
            u32 keys = ring + s * PAGE_BYTES;
            sums.add(queries, keys, keys + PAGE_BYTES / 2, p, position, oldest, scale, slope, lane);
            __syncwarp();
            fetch();
            if (++s == STAGES) { s = 0; parity ^= 1; }
        }
        Item next = item_of(++turn);
        if (next.pages) { load_factors_of(next); load_row(next); }
        sums.total();
        sums.store(parts, largest, weight, warp, lane);
        __syncthreads();
        T_IN* target = a.output + (i64)data[a.batch.starts + item.sequence] * a.heads * HEAD_DIM + item.head * GROUP * HEAD_DIM;
        for (int i = threadIdx.x; i < GROUP * HEAD_DIM / 2; i += 128) {
            int r = i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
            float4 merged = merge_warps(parts, largest, weight, r, d);
            *(u32*)(target + r * HEAD_DIM + d) = Pair<T_IN>::of(merged.x / merged.w, merged.y / merged.w);
        }
        item = next;
    }
}
