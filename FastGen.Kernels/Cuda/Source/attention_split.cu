// Attention of sequences with one new token each, on tensor cores. One CTA of 4 warps for each (key/value head, split, sequence): the query heads
// of the group are the rows of one mma tile; each warp walks every fourth page of its split with its own ring of pages and its own running
// softmax, with no barrier in between; the four results are merged at the end. The splits of a sequence and head that are a cluster hand each
// other their warps' results, a share of the columns to each; those that are none leave them in memory for the last to merge. A short context
// takes fewer splits than the grid has. FUSED: the kernel also does what store_kv.cu does, for the group's queries, the new key and the new
// value, which saves a launch; the rows themselves are left as they were.
#include "heads.cuh"
#include "tensorcores.cuh"

#define PAGE_BYTES (16 * HEAD_DIM * 2 * 2)
#define STAGES SHAPE_A
#define TALL (GROUP > 8)
#define SWIZZLED ((HEAD_DIM * 2) % 128 == 0)
#define NOTHING -1e30f

struct SplitArguments {
    Batch batch;
    const int* plan;            // counts of single sequences and tiles, then the single sequences
    const T_IN* qkv;
    T_IN* cache;
    T_IN* output;
    const int* block_tables;
    const float* slopes;
    float scale;
    int heads, kv_heads, window, block_size, blocks_per_sequence;
    float* partials;            // [sequence, kv head, split][GROUP][HEAD_DIM + 2]: sums, then largest score and total weight
    u32* counters;              // [sequence, kv head], zero between launches
    HeadArguments heads_in;     // FUSED
    int clustered;              // the splits of a sequence and head are one cluster
};

// Of 16 bytes of a token of a page: see the cache's layout in common.cuh.
DEVICE u32 chunk_offset(int row, int chunk) {
    return SWIZZLED ? (chunk >> 3) * 2048 + row * 128 + (((chunk & 7) ^ (row & 7)) << 4) : row * (HEAD_DIM * 2) + (chunk << 4);
}

KERNEL __launch_bounds__(128) attention_split(const SplitArguments a) {
    extern __shared__ __align__(128) char rings[];
    __shared__ __align__(16) T_IN q[GROUP * (HEAD_DIM + 8)];
    __shared__ float largest[4 * GROUP], weight[4 * GROUP];
    __shared__ u32 arrived;
#if HOPPER
    __shared__ __align__(8) u64 barriers[4 * STAGES];
#endif
    int head = blockIdx.x, split = blockIdx.y, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const int* data = a.batch.data;
    int singles = a.plan[0], sequence = a.plan[2 + blockIdx.z];   // loads side by side: each level costs a trip to the second-level cache
    if (blockIdx.z >= singles) return;
    int slot = data[a.batch.sequence_slots + sequence], context = data[a.batch.context_lengths + sequence];
    int row = data[a.batch.starts + sequence], position = context - 1, oldest = a.window ? max(0, context - a.window) : 0;
    int first_page = oldest / 16, pages = (context + 15) / 16 - first_page;
    int splits = min((int)gridDim.y, (pages + 3) / 4);   // a page or more for each warp
    if (split >= splits && !a.clustered) return;
    int begin = first_page + pages * min(split, splits) / splits, end = first_page + pages * min(split + 1, splits) / splits, last = (context - 1) / 16;
    const int* blocks = a.block_tables + (i64)slot * a.blocks_per_sequence;
    int per_block = a.block_size / 16;
    let_next_start();
#if HOPPER
    if (a.clustered) cluster_arrive_relaxed();
#endif
    u32 ring = shared_address(rings) + warp * STAGES * PAGE_BYTES;
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
    u32 barrier = shared_address(barriers + warp * STAGES);
    auto fetch = [&](int s) {
        const char* from = next_page();
        if (lane == 0) { barrier_expect(barrier + 8 * s, PAGE_BYTES); bulk_copy(ring + s * PAGE_BYTES, from, PAGE_BYTES, barrier + 8 * s); }
    };
    if (lane == 0) {
        for (int s = 0; s < STAGES; s++) barrier_init(barrier + 8 * s, 1);
        barrier_init_fence();
    }
    __syncwarp();
    // Old pages are on their way before the previous kernel ends; the newest holds a token of this step, which FUSED puts in by itself.
    for (int s = 0; s < STAGES; s++) if (begin + warp + 4 * s < end && (FUSED || begin + warp + 4 * s != last)) fetch(s);
    wait_for_previous();
    if (!FUSED) for (int s = 0; s < STAGES; s++) if (begin + warp + 4 * s < end && begin + warp + 4 * s == last) fetch(s);
#else
    auto fetch = [&](int s) {
        const char* from = next_page();
        for (int i = lane * 16; i < PAGE_BYTES; i += 512) copy16(ring + s * PAGE_BYTES + i, from + i, true);
    };
    wait_for_previous();
    for (int s = 0; s < STAGES - 1; s++) {
        if (begin + warp + 4 * s < end) fetch(s);
        commit_copies();
    }
#endif
    const T_IN* vectors = a.qkv + (i64)row * (a.heads + 2 * a.kv_heads) * HEAD_DIM;
#if FUSED
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
        store_head(q + (warp + 4 * i) * (HEAD_DIM + 8), v[i], lane);
    }
    if (extra != QUERY) {
        if (extra == KEY) finish_head(a.heads_in, KEY, key_factors, extra_vector, lane);
        store_head(fresh[extra == VALUE], extra_vector, lane);
        cache_head((T_IN*)(newest + (extra == VALUE ? PAGE_BYTES / 2 : 0)), 16, position & 15, extra_vector, lane);
    }
#else
    const T_IN* queries = vectors + head * GROUP * HEAD_DIM;
    for (int i = threadIdx.x * 8; i < GROUP * HEAD_DIM; i += 1024) *(uint4*)(q + i / HEAD_DIM * (HEAD_DIM + 8) + i % HEAD_DIM) = *(const uint4*)(queries + i);
#endif
    __syncthreads();
    u32 qa[HEAD_DIM / 16][TALL ? 4 : 2];
#pragma unroll
    for (int k = 0; k < HEAD_DIM / 16; k++) {
        auto at = [&](int r, int c) { return r < GROUP ? *(const u32*)(q + r * (HEAD_DIM + 8) + k * 16 + c + 2 * t) : 0u; };
        qa[k][0] = at(g, 0);
        qa[k][1] = at(g, 8);
        if (TALL) { qa[k][2 % (TALL ? 4 : 2)] = at(g + 8, 0); qa[k][3 % (TALL ? 4 : 2)] = at(g + 8, 8); }
    }
    constexpr int HALVES = TALL ? 2 : 1;
    float o[HEAD_DIM / 8][4], m[2] = {NOTHING, NOTHING}, l[2] = {0.f, 0.f}, slope[2] = {0.f, 0.f}, scale = a.scale * 1.44269504f;
    if (a.slopes) for (int h = 0; h < HALVES; h++) if (g + 8 * h < GROUP) slope[h] = a.slopes[head * GROUP + g + 8 * h] * 1.44269504f;
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 8; i++) for (int j = 0; j < 4; j++) o[i][j] = 0.f;
    int s = 0;
    u32 parity = 0;
    for (int p = begin + warp; p < end; p += 4) {
#if HOPPER
        barrier_wait(barrier + 8 * s, parity);
#else
        if (STAGES == 1) { fetch(0); commit_copies(); }
        wait_for_copies<STAGES == 1 ? 0 : STAGES - 2>();
        __syncwarp();
        if (STAGES > 1) {
            int ahead = p + 4 * (STAGES - 1);
            if (ahead < end) fetch(s == 0 ? STAGES - 1 : s - 1);
            commit_copies();
        }
#endif
        u32 keys = ring + s * PAGE_BYTES, values = keys + PAGE_BYTES / 2;
        if (p == last) {   // what lies past the context must not reach the sums, not even as 0 · NaN
            char* rows = rings + warp * STAGES * PAGE_BYTES + s * PAGE_BYTES + PAGE_BYTES / 2;
            int used = context - p * 16;
#if FUSED
            for (int i = lane; i < 2 * (HEAD_DIM / 8); i += 32) {
                int is_value = i / (HEAD_DIM / 8), c = i % (HEAD_DIM / 8);
                *(uint4*)(rows - PAGE_BYTES / 2 + is_value * (PAGE_BYTES / 2) + chunk_offset(used - 1, c)) = *(const uint4*)(fresh[is_value] + c * 8);
            }
#endif
            for (int i = lane; i < (16 - used) * (HEAD_DIM / 8); i += 32) *(uint4*)(rows + chunk_offset(used + i / (HEAD_DIM / 8), i % (HEAD_DIM / 8))) = make_uint4(0, 0, 0, 0);
            __syncwarp();
        }
        float score[2][4] = {};
        int r = (lane & 7) + ((lane >> 4) << 3);
#pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; k++) {
            u32 b[4], q4[4] = {qa[k][0], TALL ? qa[k][2 % (TALL ? 4 : 2)] : 0u, qa[k][1], TALL ? qa[k][3 % (TALL ? 4 : 2)] : 0u};
            load_matrices(b, keys + chunk_offset(r, 2 * k + ((lane >> 3) & 1)));
            Mma<T_IN>::add(score[0], q4, b[0], b[1]);
            Mma<T_IN>::add(score[1], q4, b[2], b[3]);
        }
        float shrink[2] = {1.f, 1.f};
        u32 pa[4] = {0, 0, 0, 0};
#pragma unroll
        for (int h = 0; h < HALVES; h++) {
            float v[4], high = m[h];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int key = p * 16 + (i >> 1) * 8 + 2 * t + (i & 1);
                v[i] = score[i >> 1][2 * h + (i & 1)] * scale + slope[h] * (key - position);
                if (key > position || key < oldest) v[i] = NOTHING;
                high = fmaxf(high, v[i]);
            }
            high = fmaxf(high, __shfl_xor_sync(~0u, high, 1));
            high = fmaxf(high, __shfl_xor_sync(~0u, high, 2));
            shrink[h] = exp2_fast(m[h] - high);
            m[h] = high;
            float sum = 0.f;
#pragma unroll
            for (int i = 0; i < 4; i++) { v[i] = v[i] == NOTHING ? 0.f : exp2_fast(v[i] - high); sum += v[i]; }
            l[h] = l[h] * shrink[h] + sum;
            pa[h] = Pair<T_IN>::of(v[0], v[1]);
            pa[2 + h] = Pair<T_IN>::of(v[2], v[3]);
        }
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) {
            o[i][0] *= shrink[0]; o[i][1] *= shrink[0];
            if (TALL) { o[i][2] *= shrink[1]; o[i][3] *= shrink[1]; }
        }
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 16; i++) {
            u32 b[4];
            load_matrices_transposed(b, values + chunk_offset(lane & 15, 2 * i + (lane >> 4)));
            Mma<T_IN>::add(o[2 * i], pa, b[0], b[1]);
            Mma<T_IN>::add(o[2 * i + 1], pa, b[2], b[3]);
        }
        __syncwarp();
#if HOPPER
        if (p + 4 * STAGES < end) fetch(s);   // never the newest page's turn before the wait: it is the last of all
#endif
        if (++s == STAGES) { s = 0; parity ^= 1; }
    }
#if !HOPPER
    wait_for_copies<0>();
#endif
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
        l[h] += __shfl_xor_sync(~0u, l[h], 1);
        l[h] += __shfl_xor_sync(~0u, l[h], 2);
    }
    int place = blockIdx.z * a.kv_heads + head;
    T_IN* target = a.output + (i64)row * a.heads * HEAD_DIM + head * GROUP * HEAD_DIM;
#if HOPPER
    if (a.clustered) {
        // Each CTA of the cluster gets its columns of all warps' sums, with their largest scores and total weights, and merges them.
        int ranks = gridDim.y, share = HEAD_DIM / ranks;
        float* gathered = (float*)(rings + 4 * STAGES * PAGE_BYTES);   // [ranks · 4][GROUP][share]
        float* ends = gathered + 4 * GROUP * HEAD_DIM;                 // [ranks · 4][GROUP][2]
        int part = split * 4 + warp;
        cluster_wait();   // all have begun
#pragma unroll
        for (int h = 0; h < HALVES; h++) {
            int r = g + 8 * h;
            if (r >= GROUP) continue;
#pragma unroll
            for (int i = 0; i < HEAD_DIM / 8; i++) {
                int column = i * 8 + 2 * t, owner = column / share;
                store_remote2(gathered + (part * GROUP + r) * share + column % share, owner, o[i][2 * h], o[i][2 * h + 1]);
            }
            for (int k = t; k < ranks; k += 4) store_remote2(ends + (part * GROUP + r) * 2, k, m[h], l[h]);
        }
        cluster_sync();
        // Four lanes share a pair of columns, each a quarter of the parts.
        for (int i = threadIdx.x; i < (2 * GROUP * share + 31) / 32 * 32; i += 128) {
            int pair = min(i / 4, GROUP * share / 2 - 1), r = pair / (share / 2), d = pair % (share / 2) * 2;
            float high = NOTHING, total = 0.f, x = 0.f, y = 0.f;
            for (int k = 0; k < ranks; k++) high = fmaxf(high, ends[((k * 4 + (i & 3)) * GROUP + r) * 2]);
            high = fmaxf(high, __shfl_xor_sync(~0u, high, 1));
            high = fmaxf(high, __shfl_xor_sync(~0u, high, 2));
            for (int k = 0; k < ranks; k++) {
                int from = (k * 4 + (i & 3)) * GROUP + r;
                float2 end2 = *(const float2*)(ends + from * 2), v2 = *(const float2*)(gathered + from * share + d);
                float f = exp2_fast(end2.x - high);
                total += f * end2.y;
                x += f * v2.x;
                y += f * v2.y;
            }
            for (int k = 1; k <= 2; k *= 2) { total += __shfl_xor_sync(~0u, total, k); x += __shfl_xor_sync(~0u, x, k); y += __shfl_xor_sync(~0u, y, k); }
            if ((i & 3) == 0 && i / 4 == pair) *(u32*)(target + r * HEAD_DIM + split * share + d) = Pair<T_IN>::of(x / total, y / total);
        }
        return;
    }
#endif
    __syncthreads();
    float* parts = (float*)rings;   // [4][GROUP][HEAD_DIM]
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
        int r = g + 8 * h;
        if (r >= GROUP) continue;
        if (t == 0) { largest[warp * GROUP + r] = m[h]; weight[warp * GROUP + r] = l[h]; }
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) *(float2*)(parts + (warp * GROUP + r) * HEAD_DIM + i * 8 + 2 * t) = make_float2(o[i][2 * h], o[i][2 * h + 1]);
    }
    __syncthreads();
    float* partial = a.partials + ((i64)place * gridDim.y + split) * GROUP * (HEAD_DIM + 2);
    for (int i = threadIdx.x; i < GROUP * HEAD_DIM / 2; i += 128) {
        int r = i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        float high = NOTHING, total = 0.f, x = 0.f, y = 0.f;
        for (int w = 0; w < 4; w++) high = fmaxf(high, largest[w * GROUP + r]);
        for (int w = 0; w < 4; w++) {
            float f = exp2_fast(largest[w * GROUP + r] - high);
            float2 v = *(float2*)(parts + (w * GROUP + r) * HEAD_DIM + d);
            total += f * weight[w * GROUP + r];
            x += f * v.x;
            y += f * v.y;
        }
        if (gridDim.y == 1) *(u32*)(target + r * HEAD_DIM + d) = Pair<T_IN>::of(x / total, y / total);
        else {
            *(float2*)(partial + r * (HEAD_DIM + 2) + d) = make_float2(x, y);
            if (d == 0) *(float2*)(partial + r * (HEAD_DIM + 2) + HEAD_DIM) = make_float2(high, total);
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
}
