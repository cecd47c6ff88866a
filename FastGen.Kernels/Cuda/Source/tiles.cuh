// Tiles of packed rows, for the attention kernels of prompts. A packed row is a new token and a query head of the group, so that heads which share
// keys share their loads.
#pragma once
#include "attention.cuh"

#define NOTHING -1e30f

struct TilesArguments : AttentionArguments {
    const int* tiles;           // sequence, first packed row; the longest first

    DEVICE const T_IN* packed_query(int start, int packed, int head) const { return query(start + packed / GROUP, head * GROUP + packed % GROUP); }
    DEVICE T_IN* result(int start, int packed, int head) const { return output + ((i64)(start + packed / GROUP) * heads + head * GROUP + packed % GROUP) * HEAD_DIM; }
    DEVICE float slope(int packed, int head) const { return slopes ? slopes[head * GROUP + packed % GROUP] * LOG2_E : 0.f; }
};

// One tile, of at most MOST packed rows, and the keys that it sees, by UNIT tokens.
template <int MOST, int UNIT> struct Tile {
    int start, before;          // first row of the sequence in the batch, tokens before it
    int first, rows;            // packed rows
    int high;                   // the last row's position
    int begin, end;             // keys, in units
    int oldest;                 // page of the first key that any row sees
    const int* blocks;

    DEVICE Tile(const TilesArguments& a, int index) {
        const int* data = a.batch.data;
        int sequence = a.tiles[2 * index];
        first = a.tiles[2 * index + 1];
        start = data[a.batch.starts + sequence];
        int count = data[a.batch.starts + sequence + 1] - start;
        before = data[a.batch.context_lengths + sequence] - count;
        rows = min(MOST, count * GROUP - first);
        high = before + (first + rows - 1) / GROUP;
        int seen = a.window ? max(0, before + first / GROUP - a.window + 1) : 0;
        begin = seen / UNIT;
        oldest = seen / 16;
        end = high / UNIT + 1;
        blocks = a.block_tables + (i64)data[a.batch.sequence_slots + sequence] * a.blocks_per_sequence;
    }
    DEVICE int position(int packed) const { return before + packed / GROUP; }
    // A page of 16 tokens and one head, counted over the whole cache. What lies before the window is masked, but not even 0 · NaN may reach the sums, and its
    // blocks were given back to other sequences: the oldest page that is seen stands in for it.
    DEVICE i64 page(const TilesArguments& a, int index, int head) const {
        int per_block = a.block_size / 16;
        index = max(index, oldest);
        return ((i64)blocks[index / per_block] * per_block + index % per_block) * a.kv_heads + head;
    }
    // Pages of one unit of keys that hold anything the tile sees.
    DEVICE int pages(int unit) const { return min(UNIT / 16, high / 16 + 1 - unit * (UNIT / 16)); }
};
