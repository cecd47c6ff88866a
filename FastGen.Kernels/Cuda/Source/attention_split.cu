// Attention of sequences with one new token each, on tensor cores. One CTA for each (key/value head, split, sequence): the query heads of the group
// are the rows of one mma tile; the pages of the split go through a ring, each of whose slots belongs to one warp, and each warp has its own running
// softmax, with no barrier in between; the warps' results are merged at the end. The splits of a sequence and head that are a cluster send each
// other their warps' results, a share of the columns to each; those that are none leave them in memory for the last to merge. A short context
// takes fewer splits than the grid has. FUSED: the kernel also does what store_kv.cu does, for the group's queries, the new key and the new
// value, which saves a launch; the rows themselves are left as they were.
#include "attention_page.cuh"

#define STAGES SHAPE_A      // pages in flight of every warp, unless HOPPER
#define RANKS SHAPE_B       // CTAs of a cluster, which has the splits of a sequence and head; 1 for none
#define WARPS SHAPE_C       // a power of two
#define THREADS (32 * WARPS)

KERNEL __launch_bounds__(THREADS) attention_split(const SplitArguments a) {
    extern __shared__ __align__(128) char rings[];
    __shared__ __align__(16) T_IN q[GROUP * QUERY_PITCH];
#if HOPPER
    __shared__ __align__(8) u64 barriers[MOST_SLOTS];
#endif
    int head = blockIdx.x, split = blockIdx.y, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    int4 single = ((const int4*)(a.plan + 4))[blockIdx.z];
    // One branch on both, so that they are loaded side by side: each level costs a trip to the second-level cache.
    if (blockIdx.z >= a.plan[0] | single.y == 0) return;
    int slot = single.x, context = single.y, row = single.z, position = context - 1, oldest = a.window ? max(0, context - a.window) : 0;
    int first_page = oldest / 16, pages = (context + 15) / 16 - first_page;
    int splits = min((int)gridDim.y, (pages + 3) / 4);   // a page or more for each warp
    if (split >= splits && RANKS == 1) return;
    int begin = first_page + pages * min(split, splits) / splits, end = first_page + pages * min(split + 1, splits) / splits, last = (context - 1) / 16;
    const int* blocks = a.block_tables + (i64)slot * a.blocks_per_sequence;
    int per_block = a.block_size / 16;
    let_next_start();
#if RANKS > 1
    // Each CTA of the cluster gets its columns of all warps' sums, with their largest scores and total weights, and merges them.
    constexpr int SHARE = HEAD_DIM / RANKS, PAIRS = GROUP * SHARE / 2;
    __shared__ __align__(8) u64 gathered_barrier;
    u32 all_gathered = shared_address(&gathered_barrier);
    if (threadIdx.x == 0) {
        barrier_init(all_gathered, 1);
        barrier_init_fence();
        barrier_expect(all_gathered, RANKS * WARPS * GROUP * (SHARE + 2) * 4);
    }
    __syncwarp();
    cluster_arrive_relaxed();
#endif
    u32 ring = shared_address(rings);
    auto page_of = [&](int p) { return per_block == 1 ? blocks[p] : blocks[p / per_block] * per_block + p % per_block; };   // in the cache
    auto page_address = [&](int page) { return (char*)a.cache + ((i64)page * a.kv_heads + head) * PAGE_BYTES; };
#if FUSED
    int newest_page = page_of(last);
#endif
    // Page p lies in slot (p - begin) % slots of the ring; a slot is filled and emptied by one warp.
    int slots = HOPPER ? a.slots : WARPS * STAGES, stages = (slots + WARPS - 1 - warp) / WARPS;
    int own_page = 0, fetched = 0;   // a lane knows where one of the warp's next 32 pages is
    auto find_pages = [&]() {
        int n = fetched + lane, p = begin + n / stages * slots + warp + n % stages * WARPS;
        own_page = p < end ? page_of(p) : 0;
    };
    auto next_page = [&]() { return page_address(__shfl_sync(~0u, own_page, fetched++ % 32)); };
    find_pages();
#if FUSED
    int rotary_row = position + single.w;
    // The split with the newest page has one warp for the new key and another for the new value.
    bool makes_key = split == splits - 1 && warp == GROUP % WARPS, makes_value = split == splits - 1 && warp == (GROUP + 1) % WARPS;
    HeadFactors query_factors, key_factors;
    load_factors(a.heads_in, QUERY, position, rotary_row, query_factors, lane);
    if (makes_key) load_factors(a.heads_in, KEY, position, rotary_row, key_factors, lane);
#endif
#if HOPPER
    u32 barrier = shared_address(barriers);
    auto fetch = [&](int s) {
        const char* from = next_page();
        if (lane == 0) { barrier_expect(barrier + 8 * s, PAGE_BYTES); bulk_copy(ring + s * PAGE_BYTES, from, PAGE_BYTES, barrier + 8 * s); }
    };
    if (lane == 0) {
        for (int s = warp; s < slots; s += WARPS) barrier_init(barrier + 8 * s, 1);
        barrier_init_fence();
    }
    __syncwarp();
    // Old pages are on their way before the previous kernel ends; the newest holds a token of this step, which FUSED puts in by itself.
    for (int s = warp; s < slots; s += WARPS) if (begin + s < end && (FUSED || begin + s != last)) fetch(s);
    wait_for_previous();
    if (!FUSED) for (int s = warp; s < slots; s += WARPS) if (begin + s < end && begin + s == last) fetch(s);
#else
    auto fetch = [&](int s) {
        const char* from = next_page();
        for (int i = lane * 16; i < PAGE_BYTES; i += 512) copy16(ring + s * PAGE_BYTES + i, from + i, true);
    };
    wait_for_previous();
    for (int s = 0; s < STAGES - 1; s++) {
        int p = begin + warp + WARPS * s;
        if (p < end) fetch(warp + WARPS * s);
        commit_copies();
    }
#endif
#if FUSED
    const float* vectors = a.qkv + (i64)row * (a.heads + 2 * a.kv_heads) * HEAD_DIM;
    __shared__ __align__(16) T_IN fresh[2][HEAD_DIM];
    constexpr int QUERIES = (GROUP + WARPS - 1) / WARPS;
    float v[QUERIES][PER_LANE], key[PER_LANE], value[PER_LANE];
#pragma unroll
    for (int i = 0; i < QUERIES; i++) if (warp + WARPS * i < GROUP) load_head(vectors + (head * GROUP + warp + WARPS * i) * HEAD_DIM, v[i], lane);
    if (makes_key) load_head(vectors + (a.heads + head) * HEAD_DIM, key, lane);
    if (makes_value) load_head(vectors + (a.heads + a.kv_heads + head) * HEAD_DIM, value, lane);
#pragma unroll
    for (int i = 0; i < QUERIES; i++) {
        if (warp + WARPS * i >= GROUP) continue;
        finish_head(a.heads_in, QUERY, query_factors, v[i], lane);
        store_head(q + (warp + WARPS * i) * QUERY_PITCH, v[i], lane);
    }
    T_IN* newest = (T_IN*)page_address(newest_page);
    if (makes_key) {
        finish_head(a.heads_in, KEY, key_factors, key, lane);
        store_head(fresh[0], key, lane);
        cache_head(newest, 16, position & 15, key, lane);
    }
    if (makes_value) {
        store_head(fresh[1], value, lane);
        cache_head(newest + 16 * HEAD_DIM, 16, position & 15, value, lane);
    }
#else
    for (int i = threadIdx.x * 8; i < GROUP * HEAD_DIM; i += 8 * THREADS) *(uint4*)(q + i / HEAD_DIM * QUERY_PITCH + i % HEAD_DIM) = *(const uint4*)(a.query(row, head * GROUP + i / HEAD_DIM) + i % HEAD_DIM);
#endif
    __syncthreads();
    Queries queries;
    Running sums;
    queries.load(q, lane);
    sums.clear();
    float slope[2], scale = a.scale * 1.44269504f;
    load_slopes(a, head, lane, slope);
    u32 parity = 0;
    for (int s = warp, base = begin; base + s < end;) {
        int p = base + s;
#if HOPPER
        barrier_wait(barrier + 8 * s, parity);
#else
        wait_for_copies<STAGES - 2>();
        __syncwarp();
        if (fetched % 32 == 0) find_pages();
        if (p + WARPS * (STAGES - 1) < end) fetch(s < WARPS ? s + WARPS * (STAGES - 1) : s - WARPS);
        commit_copies();
#endif
        u32 keys = ring + s * PAGE_BYTES;
#if FUSED
        if (p == last) finish_page(rings + s * PAGE_BYTES, context - p * 16, fresh, lane);
#else
        if (p == last) finish_page(rings + s * PAGE_BYTES, context - p * 16, nullptr, lane);
#endif
        sums.add(queries, keys, keys + PAGE_BYTES / 2, p, position, oldest, scale, slope, lane);
#if HOPPER
        fence_async_proxy();
#endif
        __syncwarp();
#if HOPPER
        if (fetched % 32 == 0) find_pages();
        if (p + slots < end) fetch(s);   // never the newest page's turn before the wait: it is the last of all
#endif
        s += WARPS;
        if (s >= slots) { s = warp; base += slots; parity ^= 1; }
    }
#if !HOPPER
    wait_for_copies<0>();
#endif
    sums.total();
    T_IN* target = a.output + (i64)row * a.heads * HEAD_DIM + head * GROUP * HEAD_DIM;
#if RANKS > 1
    float* gathered = (float*)(rings + a.slots * PAGE_BYTES);   // [RANKS · WARPS][GROUP][SHARE]
    float* ends = gathered + WARPS * GROUP * HEAD_DIM;             // [RANKS · WARPS][GROUP][2]
    int part = split * WARPS + warp, t = lane & 3;
    cluster_wait();   // all have begun
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
        int r = (lane >> 2) + 8 * h;
        if (r >= GROUP) continue;
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) {
            int column = i * 8 + 2 * t;
            send_remote2(gathered + (part * GROUP + r) * SHARE + column % SHARE, column / SHARE, sums.o[i][2 * h], sums.o[i][2 * h + 1], all_gathered);
        }
        for (int k = t; k < RANKS; k += 4) send_remote2(ends + (part * GROUP + r) * 2, k, sums.m[h], sums.l[h], all_gathered);
    }
    barrier_wait(all_gathered, 0);
    // As many lanes as a CTA has warps share a pair of columns; each adds up the parts of one warp of every CTA.
    for (int i = threadIdx.x; i < (WARPS * PAIRS + 31) / 32 * 32; i += THREADS) {
        int pair = min(i / WARPS, PAIRS - 1), r = pair / (SHARE / 2), d = pair % (SHARE / 2) * 2;
        float2 end2[RANKS], v[RANKS];
#pragma unroll
        for (int k = 0; k < RANKS; k++) {
            int from = (k * WARPS + i % WARPS) * GROUP + r;
            end2[k] = *(const float2*)(ends + from * 2);
            v[k] = *(const float2*)(gathered + from * SHARE + d);
        }
        float high = NOTHING, total = 0.f, x = 0.f, y = 0.f;
#pragma unroll
        for (int k = 0; k < RANKS; k++) high = fmaxf(high, end2[k].x);
#pragma unroll
        for (int k = 1; k < WARPS; k *= 2) high = fmaxf(high, __shfl_xor_sync(~0u, high, k));
#pragma unroll
        for (int k = 0; k < RANKS; k++) {
            float f = exp2_fast(end2[k].x - high);
            total += f * end2[k].y;
            x += f * v[k].x;
            y += f * v[k].y;
        }
#pragma unroll
        for (int k = 1; k < WARPS; k *= 2) { total += __shfl_xor_sync(~0u, total, k); x += __shfl_xor_sync(~0u, x, k); y += __shfl_xor_sync(~0u, y, k); }
        if (i % WARPS == 0 && i / WARPS == pair) *(u32*)(target + r * HEAD_DIM + split * SHARE + d) = Pair<T_IN>::of(x / total, y / total);
    }
#else
    __shared__ float largest[WARPS * GROUP], weight[WARPS * GROUP];
    __shared__ u32 arrived;
    int place = blockIdx.z * a.kv_heads + head;
    __syncthreads();
    float* parts = (float*)rings;
    sums.store(parts, largest, weight, warp, lane);
    __syncthreads();
    float* partial = a.partials + ((i64)place * gridDim.y + split) * GROUP * (HEAD_DIM + 2);
    for (int i = threadIdx.x; i < GROUP * HEAD_DIM / 2; i += THREADS) {
        int r = i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        float4 merged = merge_warps<WARPS>(parts, largest, weight, r, d);
        if (gridDim.y == 1) *(u32*)(target + r * HEAD_DIM + d) = Pair<T_IN>::of(merged.x / merged.w, merged.y / merged.w);
        else {
            *(float2*)(partial + r * (HEAD_DIM + 2) + d) = make_float2(merged.x, merged.y);
            if (d == 0) *(float2*)(partial + r * (HEAD_DIM + 2) + HEAD_DIM) = make_float2(merged.z, merged.w);
        }
    }
    if (gridDim.y == 1) return;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) arrived = atomicAdd(a.counters + place, 1u);
    __syncthreads();
    if (arrived != splits - 1) return;
    __threadfence();
    if (threadIdx.x == 0) a.counters[place] = 0;
    const float* all = a.partials + (i64)place * gridDim.y * GROUP * (HEAD_DIM + 2);
    for (int i = threadIdx.x; i < GROUP * HEAD_DIM / 2; i += THREADS) {
        int r = i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        float high = NOTHING, total = 0.f, x = 0.f, y = 0.f;
        for (int k = 0; k < splits; k++) high = fmaxf(high, __ldcg(all + (k * GROUP + r) * (HEAD_DIM + 2) + HEAD_DIM));
        for (int k = 0; k < splits; k++) {
            const float* p = all + (k * GROUP + r) * (HEAD_DIM + 2);
            float2 end2 = __ldcg((const float2*)(p + HEAD_DIM)), v = __ldcg((const float2*)(p + d));
            float f = exp2_fast(end2.x - high);
            total += f * end2.y;
            x += f * v.x;
            y += f * v.y;
        }
        *(u32*)(target + r * HEAD_DIM + d) = Pair<T_IN>::of(x / total, y / total);
    }
#endif
}
