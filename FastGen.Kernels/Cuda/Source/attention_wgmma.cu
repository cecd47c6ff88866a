// Attention of prompts and prompt chunks on Hopper, after FlashAttention-3 (Shah et al. 2024). Resident CTAs walk over items, each a tile of packed
// rows and a key/value head. One warpgroup loads keys, values and queries; two or three multiply, 64 rows each. Scores of the next keys are on the
// tensor cores while the softmax of the last ones runs, and warpgroups take turns on the tensor cores.
#include "attention_items.cuh"
#include "softmax.cuh"

DEVICE void sync_warpgroup(int group) { asm volatile("bar.sync %0, 128;" :: "r"(group + 1) : "memory"); }
DEVICE void wait_turn(int group) { asm volatile("bar.sync %0, 256;" :: "r"(CONSUMERS + 1 + group) : "memory"); }
DEVICE void pass_turn(int group) { asm volatile("bar.arrive %0, 256;" :: "r"(CONSUMERS + 1 + (group + 1) % CONSUMERS) : "memory"); }

// An item as a lane of a multiplying warpgroup sees it: its two rows, and what concerns all rows of the warpgroup.
struct Work {
    Item item;
    int row, position[2], earliest, last;
    float slope[2];   // on unscaled scores

    DEVICE Work(const TilesArguments& a, const Item& item, int group) : item(item), row(group * 64 + (threadIdx.x >> 5 & 3) * 16 + (threadIdx.x >> 2 & 7)) {
        earliest = item.position(item.first + min(group * 64, item.rows - 1));
        last = item.position(item.first + min(group * 64 + 63, item.rows - 1));
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int packed = item.first + min(row + 8 * h, item.rows - 1);
            position[h] = item.position(packed);
            slope[h] = a.slope(packed, item.head) / (a.scale * LOG2_E);
        }
    }
};

// What other multiprocessors may have written.
DEVICE float load_fresh(const float* p) {
    float v;
    asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(p) : "memory");
    return v;
}

// Scores of one unit of keys, with ALiBi, and without what a row does not see.
DEVICE void mask(const TilesArguments& a, const Work& work, int unit, float (&score)[TOKENS / 2]) {
    int from = unit * TOKENS + 2 * (threadIdx.x & 3), newest[2] = {work.position[0] - from, work.position[1] - from};
    if (a.slopes) {
#pragma unroll
        for (int i = 0; i < TOKENS / 2; i++) score[i] += work.slope[i >> 1 & 1] * ((i >> 2) * 8 + (i & 1) - newest[i >> 1 & 1]);
    }
    if (unit * TOKENS + TOKENS - 1 > work.earliest) {
#pragma unroll
        for (int i = 0; i < TOKENS / 2; i++) if ((i >> 2) * 8 + (i & 1) > newest[i >> 1 & 1]) score[i] = NOTHING;
    }
    if (a.window && unit * TOKENS <= work.last - a.window) {
#pragma unroll
        for (int i = 0; i < TOKENS / 2; i++) if ((i >> 2) * 8 + (i & 1) <= newest[i >> 1 & 1] - a.window) score[i] = NOTHING;
    }
}

DEVICE void store(const TilesArguments& a, const Work& work, const float (&o)[HEAD_DIM / 2], const float (&totals)[2]) {
    int t = threadIdx.x & 3;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float inverse = 1.f / totals[h];
        bool inside = work.row + 8 * h < work.item.rows;
        T_IN* target = a.result(work.item.start, work.item.first + min(work.row + 8 * h, work.item.rows - 1), work.item.head);
        u32 words[HEAD_DIM / 8];
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) words[i] = Pair<T_IN>::of(o[4 * i + 2 * h] * inverse, o[4 * i + 2 * h + 1] * inverse);
        store_row<HEAD_DIM / 8>([&](int i) { return words[i]; }, [&](int i) { return inside ? target + i * 8 : nullptr; }, t);
    }
}

// Leaves a warpgroup's sums of its share of the keys with those of the other shares. The last to come gets them all, and true.
DEVICE bool add_shares(const WgmmaArguments& a, const Item& item, int group, float scale, float (&o)[HEAD_DIM / 2], const float (&largest)[2], float (&totals)[2]) {
    __shared__ u32 arrived[CONSUMERS];
    constexpr int VALUES = HEAD_DIM / 2 + 4;
    int tid = threadIdx.x & 127, pair = blockIdx.x / a.splits;
    auto partial = [&](int share) { return a.partials + (i64)((pair * a.splits + share) * CONSUMERS + group) * (VALUES * 128) + tid; };
    float* own = partial(blockIdx.x % a.splits);
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 2; i++) own[i * 128] = o[i];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        own[(HEAD_DIM / 2 + h) * 128] = largest[h] * scale;
        own[(HEAD_DIM / 2 + 2 + h) * 128] = totals[h];
    }
    __threadfence();
    sync_warpgroup(group);
    if (tid == 0) arrived[group] = atomicInc(a.counters + pair * CONSUMERS + group, item.shares - 1);
    sync_warpgroup(group);
    if (arrived[group] != item.shares - 1) return false;
    __threadfence();
    float highest[2] = {NOTHING, NOTHING};
    for (int share = 0; share < item.shares; share++)
#pragma unroll
        for (int h = 0; h < 2; h++) highest[h] = fmaxf(highest[h], load_fresh(partial(share) + (HEAD_DIM / 2 + h) * 128));
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 2; i++) o[i] = 0.f;
    totals[0] = totals[1] = 0.f;
    for (int share = 0; share < item.shares; share++) {
        const float* from = partial(share);
        float factor[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            factor[h] = exp2_fast(load_fresh(from + (HEAD_DIM / 2 + h) * 128) - highest[h]);
            totals[h] += factor[h] * load_fresh(from + (HEAD_DIM / 2 + 2 + h) * 128);
        }
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 2; i++) o[i] += factor[i >> 1 & 1] * load_fresh(from + i * 128);
    }
    return true;
}

// A stream of units of keys, from item to item: while the weights of one meet its values, the scores of the next are made.
DEVICE void attend(const WgmmaArguments& arguments, int items, u32 queries, u32 keys, u32 values, const Barriers& barriers) {
    const TilesArguments& a = arguments.tiles;
    int lane = threadIdx.x & 31, group = __shfl_sync(~0u, threadIdx.x >> 7, 0) - 1, round = 0, index = item_of(0);
    if (index >= items) return;
    Item next(arguments, index);
    if (next.begin == next.end) return;
    float score[TOKENS / 2], o[HEAD_DIM / 2], scale = a.scale * LOG2_E;
    u32 weights[TOKENS / 16][4];
    Ring<STAGES> key_ring, value_ring;
    Ring<QUERIES> query_ring;
    Work work(a, next, group);
    Softmax softmax;
    int unit = work.item.end - 1;

    auto multiply_keys = [&] {
        u32 query = queries + query_ring.slot * QUERY_BYTES + group * (64 * 128), key = keys + key_ring.slot * STAGE_BYTES;
        wgmma_begin();
#pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; k++) {
            u64 left = wgmma_operand(query + (k / 4) * (TILE_ROWS * 128) + (k % 4) * 32), right = wgmma_operand(key + (k / 4) * (TOKENS * 128) + (k % 4) * 32);
            if (k == 0) Wgmma<T_IN, TOKENS>::start(score, left, right);
            else Wgmma<T_IN, TOKENS>::add(score, left, right);
        }
        wgmma_commit();
    };
    auto multiply_values = [&] {
        u32 from = values + value_ring.slot * STAGE_BYTES;
        wgmma_begin();
#pragma unroll
        for (int n = 0; n < TOKENS / 16; n++) WgmmaHeld<T_IN, HEAD_DIM>::add(o, weights[n], wgmma_operand_by_rows(from + n * PANELS * PAGE_PANEL, PAGE_PANEL));
        wgmma_commit();
    };
    auto wait_for_keys = [&](bool first) {
        if (first) barrier_wait(shared_address(barriers.queries_full + query_ring.slot), query_ring.parity);
        barrier_wait(shared_address(barriers.keys_full + key_ring.slot), key_ring.parity);
    };
    auto wait_for_values = [&] { barrier_wait(shared_address(barriers.values_full + value_ring.slot), value_ring.parity); };
    auto release_keys = [&] {
        bool last = unit == work.item.begin;
        if (lane == 0) {
            barrier_arrive(shared_address(barriers.keys_empty + key_ring.slot));
            if (last) barrier_arrive(shared_address(barriers.queries_empty + query_ring.slot));
        }
        key_ring.next();
        if (last) query_ring.next();
    };
    auto release_values = [&] {
        if (lane == 0) barrier_arrive(shared_address(barriers.values_empty + value_ring.slot));
        value_ring.next();
    };
    auto clear = [&] {
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 2; i++) o[i] = 0.f;
    };
    auto pack = [&](bool first) {
#pragma unroll
        for (int i = 0; i < TOKENS / 4; i++) weights[i / 4][i % 4] = Pair<T_IN>::of(score[2 * i], score[2 * i + 1]);
        // What lies past the last position must not reach the sums, not even as 0 · NaN.
        int used = work.item.high + 1 - unit * TOKENS, end = used < 16 ? TOKENS : (used + 15) / 16 * 16;
        if (first && used < TOKENS && used % 16 != 0) {
            wait_for_values();
            for (int i = threadIdx.x & 127; i < (end - used) * PANELS * 8; i += 128) {
                int token = used + i / (PANELS * 8), c = i % (PANELS * 8);
                store_zeros(values + value_ring.slot * STAGE_BYTES + (token / 16 * PANELS + c / 8) * PAGE_PANEL + token % 16 * 128 + c % 8 * 16);
            }
            fence_async_proxy();
            sync_warpgroup(group);
        }
    };

    auto look_ahead = [&] {   // what the next item is takes a chain of loads
        index = item_of(++round);
        if (index < items) next = Item(arguments, index);
    };

    look_ahead();
    if (group == CONSUMERS - 1) pass_turn(group);
    wait_for_keys(true);
    multiply_keys();
    wgmma_wait<0>();
    wgmma_settle(score);
    release_keys();
    mask(a, work, unit, score);
    softmax.weigh(score, scale);
    clear();
    pack(true);
    for (;;) {
        bool first = unit == work.item.begin;   // the next unit is the first of an item
        Work done = work;
        float totals[2] = {softmax.total[0], softmax.total[1]};
        if (first) {
            if (index >= items) break;
            work = Work(a, next, group);
            softmax = Softmax();
            unit = work.item.end;
            look_ahead();
        }
        unit--;
        wait_for_keys(first);
        wait_turn(group);
        multiply_keys();
        wait_for_values();
        multiply_values();
        pass_turn(group);
        wgmma_wait<1>();
        wgmma_settle(score);
        release_keys();
        mask(a, work, unit, score);
        softmax.weigh(score, scale);
        wgmma_wait<0>();
        wgmma_settle(o);
        release_values();
        if (first) {
            sum_quads(totals);
            store(a, done, o, totals);
            clear();
        } else if (__any_sync(~0u, softmax.shrink[0] != 1.f || softmax.shrink[1] != 1.f)) {
#pragma unroll
            for (int i = 0; i < HEAD_DIM / 2; i++) o[i] *= softmax.shrink[i >> 1 & 1];
        }
        pack(first);
    }
    wait_for_values();
    multiply_values();
    wgmma_wait<0>();
    wgmma_settle(o);
    release_values();
    sum_quads(softmax.total);
    if (arguments.splits == 1 || work.item.shares == 1 || add_shares(arguments, work.item, group, scale, o, softmax.largest, softmax.total)) store(a, work, o, softmax.total);
}

KERNEL __launch_bounds__(128 * (CONSUMERS + 1), 1) attention_wgmma(const __grid_constant__ WgmmaArguments a) {
    extern __shared__ char unaligned[];   // queries, then stages of keys, then of values
    __shared__ Barriers barriers;
    u32 queries = (shared_address(unaligned) + 1023) & ~1023u, keys = queries + QUERIES * QUERY_BYTES, values = keys + STAGES * STAGE_BYTES;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            barrier_init(shared_address(barriers.keys_full + s), 1);
            barrier_init(shared_address(barriers.values_full + s), 1);
            barrier_init(shared_address(barriers.keys_empty + s), 4 * CONSUMERS);
            barrier_init(shared_address(barriers.values_empty + s), 4 * CONSUMERS);
        }
        for (int s = 0; s < QUERIES; s++) {
            barrier_init(shared_address(barriers.queries_full + s), 64);
            barrier_init(shared_address(barriers.queries_empty + s), 4 * CONSUMERS);
        }
        barrier_init_fence();
    }
    __syncthreads();
    let_next_start();
    wait_for_previous();
    int items = a.tiles.plan[1] * a.tiles.kv_heads * a.splits;
    if (threadIdx.x < 128) {
        give_registers<CONSUMERS == 2 ? 40 : 32>();
        if (threadIdx.x < 32) load<false>(a, items, keys, barriers.keys_full, barriers.keys_empty);
        else if (threadIdx.x < 64) load<true>(a, items, values, barriers.values_full, barriers.values_empty);
        else load_queries(a, items, queries, barriers);
    } else {
        take_registers<CONSUMERS == 2 ? 232 : 160>();
        attend(a, items, queries, keys, values, barriers);
    }
}
