// What warpgroups of attention_wgmma.cu work on, item by item, and the warps that bring it: queries, keys and values, through rings of slots.
#pragma once
#include "tiles.cuh"
#include "wgmma.cuh"

#define CONSUMERS SHAPE_A
#define TOKENS SHAPE_B                      // keys, or values, of a stage
#define STAGES SHAPE_C
#define QUERIES (HEAD_DIM <= 128 ? 2 : 1)   // items whose queries are there
#define TILE_ROWS (64 * CONSUMERS)
#define PANELS ((HEAD_DIM + 63) / 64)       // of 64 columns: 128 bytes a token, swizzled
#define PAGE_PANEL 2048                     // bytes of a panel of a page
#define STAGE_BYTES (PANELS * TOKENS * 128)
#define QUERY_BYTES (PANELS * TILE_ROWS * 128)
#define ALIGNED (HEAD_DIM % 64 == 0)        // pages lie swizzled in the cache; others are swizzled, and padded with zeros, on their way

struct WgmmaArguments {
    TensorMap cache_map;                    // [tokens of all pages, HEAD_DIM], unless ALIGNED
    TilesArguments tiles;
    // Where tiles and heads are fewer than CTAs, several share the keys of each and the last to end adds up. A CTA has one item then.
    int splits;
    float* partials;                        // [item, warpgroup][HEAD_DIM / 2 sums, 2 largest scores, 2 total weights][thread]
    u32* counters;                          // [tile and head, warpgroup], zero between launches
};

// A tile and a head, or its share of the keys; no keys where there are fewer units than shares.
struct Item : Tile<TILE_ROWS, TOKENS> {
    int head, shares;
    DEVICE Item(const WgmmaArguments& a, int index) : Tile(a.tiles, index / a.splits / a.tiles.kv_heads), head(index / a.splits % a.tiles.kv_heads) {
        int units = end - begin, split = index % a.splits;
        shares = min(a.splits, units);
        end = begin + (split < shares ? units * (split + 1) / shares : 0);
        begin += split < shares ? units * split / shares : 0;
    }
};

// Slots that are filled and emptied in turn.
template <int SLOTS> struct Ring {
    int slot = 0;
    u32 parity = 0;
    DEVICE void next() { if (++slot == SLOTS) { slot = 0; parity ^= 1; } }
};
struct Barriers { u64 keys_full[STAGES], keys_empty[STAGES], values_full[STAGES], values_empty[STAGES], queries_full[QUERIES], queries_empty[QUERIES]; };

// The round's item of this CTA: back and forth over the list, which falls in length, so that all CTAs have about the same to do.
DEVICE int item_of(int round) { return round * gridDim.x + (round & 1 ? gridDim.x - 1 - blockIdx.x : blockIdx.x); }

// One warp brings keys, another values, from the newest to the oldest: as wgmma takes them, keys lie [panel][token], values [page][panel][token of the page].
template <bool VALUES> DEVICE void load(const WgmmaArguments& a, int items, u32 target, const u64* full, const u64* empty) {
    constexpr int COPIES = VALUES && ALIGNED ? 1 : PANELS, BYTES = PANELS / COPIES * PAGE_PANEL;   // of a page; at most one a lane
    int lane = threadIdx.x & 31;
    Ring<STAGES> ring;
    for (int round = 0, i; (i = item_of(round)) < items; round++) {
        Item item(a, i);
        for (int unit = item.end - 1; unit >= item.begin; unit--, ring.next()) {
            // Keys past the last page are masked, whatever they are; in the place of values there come others.
            int present = item.pages(unit), pages = VALUES ? TOKENS / 16 : present, p = lane / COPIES, panel = lane % COPIES;
            i64 page = 2 * item.page(a.tiles, unit * (TOKENS / 16) + (p < present ? p : 0), item.head) + VALUES;
            u32 barrier = shared_address(full + ring.slot), to = target + ring.slot * STAGE_BYTES + (VALUES ? lane * BYTES : panel * (TOKENS * 128) + p * PAGE_PANEL);
            barrier_wait(shared_address(empty + ring.slot), ring.parity ^ 1);
            if (lane == 0) barrier_expect(barrier, pages * PANELS * PAGE_PANEL);
            __syncwarp();
            if (p >= pages) continue;
            if (ALIGNED) bulk_copy(to, (const char*)a.tiles.cache + page * (PANELS * PAGE_PANEL) + panel * BYTES, BYTES, barrier);
            else tensor_copy(to, &a.cache_map, panel * 64, (int)page * 16, barrier);
        }
    }
}

DEVICE void load_queries(const WgmmaArguments& a, int items, u32 queries, const Barriers& barriers) {
    constexpr int CHUNKS = HEAD_DIM / 8;
    Ring<QUERIES> ring;
    for (int round = 0, i; (i = item_of(round)) < items; round++, ring.next()) {
        Item item(a, i);
        u32 target = queries + ring.slot * QUERY_BYTES;
        barrier_wait(shared_address(barriers.queries_empty + ring.slot), ring.parity ^ 1);
        for (int j = threadIdx.x - 64; j < TILE_ROWS * CHUNKS; j += 64) {
            int r = j / CHUNKS, c = j % CHUNKS;
            copy16(target + (c >> 3) * (TILE_ROWS * 128) + r * 128 + (((c & 7) ^ (r & 7)) << 4), a.tiles.packed_query(item.start, item.first + min(r, item.rows - 1), item.head) + c * 8, true);
        }
        commit_copies();
        wait_for_copies<0>();
        fence_async_proxy();
        barrier_arrive(shared_address(barriers.queries_full + ring.slot));
    }
}
