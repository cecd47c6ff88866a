// Attention of sequences with one new token each, on tensor cores. One CTA of 4 warps for each (key/value head, split, sequence): the query heads
// of the group are the rows of one mma tile; each warp walks every fourth page of its split with its own ring of pages and its own running
// softmax, with no barrier in between; the four results are merged at the end. The splits of a sequence and head that are a cluster hand each
// other their warps' results, a share of the columns to each; those that are none leave them in memory for the last to merge. A short context
// takes fewer splits than the grid has. FUSED: the kernel also does what store_kv.cu does, for the group's queries, the new key and the new
// value, which saves a launch; the rows themselves are left as they were.
#include "attention_page.cuh"

#define STAGES SHAPE_A      // pages in flight of every warp, unless HOPPER
#define RANKS SHAPE_B       // CTAs of a cluster, which has the splits of a sequence and head; 1 for none

KERNEL __launch_bounds__(128) attention_split(const SplitArguments a) {
    extern __shared__ __align__(128) char rings[];
    __shared__ __align__(16) T_IN q[GROUP * QUERY_PITCH];
#if HOPPER
    __shared__ __align__(8) u64 barriers[MOST_SLOTS];
#endif
    int head = blockIdx.x, split = blockIdx.y, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int* data = a.batch.data;
    int singles = a.plan[0], sequence = a.plan[2 + blockIdx.z];   // loads side by side: each level costs a trip to the second-level cache
    if (blockIdx.z >= singles) return;
    int slot = data[a.batch.sequence_slots + sequence], context = data[a.batch.context_lengths + sequence];
    int row = data[a.batch.starts + sequence], position = context - 1, oldest = a.window ? max(0, context - a.window) : 0;
    int first_page = oldest / 16, pages = (context + 15) / 16 - first_page;
    int splits = min((int)gridDim.y, (pages + 3) / 4);   // a page or more for each warp
    if (split >= splits && RANKS == 1) return;
    int begin = first_page + pages * min(split, splits) / splits, end = first_page + pages * min(split + 1, splits) / splits, last = (context - 1) / 16;
    const int* blocks = a.block_tables + (i64)slot * a.blocks_per_sequence;
    int per_block = a.block_size / 16;
    let_next_start();
#if RANKS > 1
    cluster_arrive_relaxed();
#endif
    u32 ring = shared_address(rings) + warp * PAGE_BYTES;   // and every fourth page from there
#if FUSED
    int rotary_row = position + data[a.batch.rotary_bases + sequence];
    // The split with the newest page has one warp for the new key and another for the new value.
    int extra = split != splits - 1 ? QUERY : warp == GROUP % 4 ? KEY : warp == (GROUP + 1) % 4 ? VALUE : QUERY;
    HeadFactors query_factors, key_factors;
    load_factors(a.heads_in, QUERY, position, rotary_row, query_factors, lane);
    if (extra == KEY) load_factors(a.heads_in, KEY, position, rotary_row, key_factors, lane);
#endif
    auto page_address = [&](int p, int block) { return (char*)a.cache + (((i64)block * per_block + p % per_block) * a.kv_heads + head) * PAGE_BYTES; };
#if FUSED
    char* newest = page_address(last, blocks[last / per_block]);
#endif
    int own_block = 0, fetched = 0;   // a lane has the block of one of the warp's next 32 pages
    auto next_page = [&]() {
        int p = begin + warp + 4 * fetched, own = p + 4 * lane;
        if (fetched % 32 == 0) own_block = own < end ? blocks[own / per_block] : 0;
        return page_address(p, __shfl_sync(~0u, own_block, fetched++ % 32));
    };
#if HOPPER
    u32 barrier = shared_address(barriers + warp);
    int stages = (a.slots + 3 - warp) / 4;
    auto fetch = [&](int s) {
        const char* from = next_page();
        if (lane == 0) { barrier_expect(barrier + 32 * s, PAGE_BYTES); bulk_copy(ring + s * 4 * PAGE_BYTES, from, PAGE_BYTES, barrier + 32 * s); }
    };
    if (lane == 0) {
        for (int s = 0; s < stages; s++) barrier_init(barrier + 32 * s, 1);
        barrier_init_fence();
    }
    __syncwarp();
    // Old pages are on their way before the previous kernel ends; the newest holds a token of this step, which FUSED puts in by itself.
    for (int s = 0; s < stages; s++) if (begin + warp + 4 * s < end && (FUSED || begin + warp + 4 * s != last)) fetch(s);
    wait_for_previous();
    if (!FUSED) for (int s = 0; s < stages; s++) if (begin + warp + 4 * s < end && begin + warp + 4 * s == last) fetch(s);
#else
    auto fetch = [&](int s) {
        const char* from = next_page();
        for (int i = lane * 16; i < PAGE_BYTES; i += 512) copy16(ring + s * 4 * PAGE_BYTES + i, from + i, true);
    };
    wait_for_previous();
    for (int s = 0; s < STAGES - 1; s++) {
        if (begin + warp + 4 * s < end) fetch(s);
        commit_copies();
    }
#endif
#if FUSED
    const float* vectors = a.qkv + (i64)row * (a.heads + 2 * a.kv_heads) * HEAD_DIM;
    __shared__ __align__(16) T_IN fresh[2][HEAD_DIM];
    constexpr int QUERIES = (GROUP + 3) / 4;
    float v[QUERIES][PER_LANE], extra_vector[PER_LANE];
#pragma unroll
    for (int i = 0; i < QUERIES; i++) if (warp + 4 * i < GROUP) load_head(vectors + (head * GROUP + warp + 4 * i) * HEAD_DIM, v[i], lane);
    if (extra != QUERY) load_head(vectors + (a.heads + (extra == VALUE ? a.kv_heads : 0) + head) * HEAD_DIM, extra_vector, lane);
#pragma unroll
    for (int i = 0; i < QUERIES; i++) {
        if (warp + 4 * i >= GROUP) continue;
        finish_head(a.heads_in, QUERY, query_factors, v[i], lane);
        store_head(q + (warp + 4 * i) * QUERY_PITCH, v[i], lane);
    }
    if (extra != QUERY) {
        if (extra == KEY) finish_head(a.heads_in, KEY, key_factors, extra_vector, lane);
        store_head(fresh[extra == VALUE], extra_vector, lane);
        cache_head((T_IN*)(newest + (extra == VALUE ? PAGE_BYTES / 2 : 0)), 16, position & 15, extra_vector, lane);
    }
#else
    for (int i = threadIdx.x * 8; i < GROUP * HEAD_DIM; i += 1024) *(uint4*)(q + i / HEAD_DIM * QUERY_PITCH + i % HEAD_DIM) = *(const uint4*)(a.query(row, head * GROUP + i / HEAD_DIM) + i % HEAD_DIM);
#endif
    __syncthreads();
    Queries queries;
    Running sums;
    queries.load(q, lane);
    sums.clear();
    float slope[2], scale = a.scale * 1.44269504f;
    load_slopes(a, head, lane, slope);
    int s = 0;
#if HOPPER
    u32 parity = 0;
#endif
    for (int p = begin + warp; p < end; p += 4) {
#if HOPPER
        barrier_wait(barrier + 32 * s, parity);
#else
        wait_for_copies<STAGES - 2>();
        __syncwarp();
        if (p + 4 * (STAGES - 1) < end) fetch(s == 0 ? STAGES - 1 : s - 1);
        commit_copies();
#endif
        u32 keys = ring + s * 4 * PAGE_BYTES;
#if FUSED
        if (p == last) finish_page(rings + (s * 4 + warp) * PAGE_BYTES, context - p * 16, fresh, lane);
#else
        if (p == last) finish_page(rings + (s * 4 + warp) * PAGE_BYTES, context - p * 16, nullptr, lane);
#endif
        sums.add(queries, keys, keys + PAGE_BYTES / 2, p, position, oldest, scale, slope, lane);
        __syncwarp();
#if HOPPER
        if (p + 4 * stages < end) fetch(s);   // never the newest page's turn before the wait: it is the last of all
        if (++s == stages) { s = 0; parity ^= 1; }
#else
        if (++s == STAGES) s = 0;
#endif
    }
#if !HOPPER
    wait_for_copies<0>();
#endif
    sums.total();
    T_IN* target = a.output + (i64)row * a.heads * HEAD_DIM + head * GROUP * HEAD_DIM;
#if RANKS > 1
    // Each CTA of the cluster gets its columns of all warps' sums, with their largest scores and total weights, and merges them.
    constexpr int SHARE = HEAD_DIM / RANKS, PAIRS = GROUP * SHARE / 2;
    float* gathered = (float*)(rings + a.slots * PAGE_BYTES);   // [RANKS · 4][GROUP][SHARE]
    float* ends = gathered + 4 * GROUP * HEAD_DIM;                 // [RANKS · 4][GROUP][2]
    int part = split * 4 + warp, t = lane & 3;
    cluster_wait();   // all have begun
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
        int r = (lane >> 2) + 8 * h;
        if (r >= GROUP) continue;
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) {
            int column = i * 8 + 2 * t;
            store_remote2(gathered + (part * GROUP + r) * SHARE + column % SHARE, column / SHARE, sums.o[i][2 * h], sums.o[i][2 * h + 1]);
        }
        for (int k = t; k < RANKS; k += 4) store_remote2(ends + (part * GROUP + r) * 2, k, sums.m[h], sums.l[h]);
    }
    __syncwarp();
    cluster_sync();
    // Four lanes share a pair of columns, each a quarter of the parts.
    for (int i = threadIdx.x; i < (4 * PAIRS + 31) / 32 * 32; i += 128) {
        int pair = min(i / 4, PAIRS - 1), r = pair / (SHARE / 2), d = pair % (SHARE / 2) * 2;
        float2 end2[RANKS], v[RANKS];
#pragma unroll
        for (int k = 0; k < RANKS; k++) {
            int from = (k * 4 + (i & 3)) * GROUP + r;
            end2[k] = *(const float2*)(ends + from * 2);
            v[k] = *(const float2*)(gathered + from * SHARE + d);
        }
        float high = NOTHING, total = 0.f, x = 0.f, y = 0.f;
#pragma unroll
        for (int k = 0; k < RANKS; k++) high = fmaxf(high, end2[k].x);
        high = fmaxf(high, __shfl_xor_sync(~0u, high, 1));
        high = fmaxf(high, __shfl_xor_sync(~0u, high, 2));
#pragma unroll
        for (int k = 0; k < RANKS; k++) {
            float f = exp2_fast(end2[k].x - high);
            total += f * end2[k].y;
            x += f * v[k].x;
            y += f * v[k].y;
        }
#pragma unroll
        for (int k = 1; k <= 2; k *= 2) { total += __shfl_xor_sync(~0u, total, k); x += __shfl_xor_sync(~0u, x, k); y += __shfl_xor_sync(~0u, y, k); }
        if ((i & 3) == 0 && i / 4 == pair) *(u32*)(target + r * HEAD_DIM + split * SHARE + d) = Pair<T_IN>::of(x / total, y / total);
    }
#else
    __shared__ float largest[4 * GROUP], weight[4 * GROUP];
    __shared__ u32 arrived;
    int place = blockIdx.z * a.kv_heads + head;
    __syncthreads();
    float* parts = (float*)rings;
    sums.store(parts, largest, weight, warp, lane);
    __syncthreads();
    float* partial = a.partials + ((i64)place * gridDim.y + split) * GROUP * (HEAD_DIM + 2);
    for (int i = threadIdx.x; i < GROUP * HEAD_DIM / 2; i += 128) {
        int r = i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        float4 merged = merge_warps(parts, largest, weight, r, d);
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
    for (int i = threadIdx.x; i < GROUP * HEAD_DIM / 2; i += 128) {
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
