// What decode attention does with one page of 16 tokens in a warp: the query heads of a group are the rows of one mma tile.
#pragma once
#include "attention.cuh"
#include "heads.cuh"
#include "tensorcores.cuh"

#define PAGE_BYTES (16 * HEAD_DIM * 2 * 2)
#define TALL (GROUP > 8)
#define HALVES (TALL ? 2 : 1)
#define SWIZZLED ((HEAD_DIM * 2) % 128 == 0)
#define NOTHING -1e30f
#define QUERY_PITCH (HEAD_DIM + 8)
#define MOST_SLOTS 16

struct SplitArguments : AttentionArguments {
    float* partials;            // [sequence, kv head, split][GROUP][HEAD_DIM + 2]: sums, then largest score and total weight
    u32* counters;              // [sequence, kv head], zero between launches
    HeadArguments heads_in;     // FUSED
    int slots;                  // HOPPER: pages in flight, WARPS to MOST_SLOTS
};

// Of 16 bytes of a token of a page: see the cache's layout in common.cuh.
DEVICE u32 chunk_offset(int row, int chunk) {
    return SWIZZLED ? (chunk >> 3) * 2048 + row * 128 + (((chunk & 7) ^ (row & 7)) << 4) : row * (HEAD_DIM * 2) + (chunk << 4);
}

// The queries as operands: row r of the tile is head r of the group.
struct Queries {
    u32 at[HEAD_DIM / 16][TALL ? 4 : 2];
    DEVICE void load(const T_IN* q, int lane) {
        int g = lane >> 2, t = lane & 3;
#pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; k++) {
            auto word = [&](int r, int c) { return r < GROUP ? *(const u32*)(q + r * QUERY_PITCH + k * 16 + c + 2 * t) : 0u; };
            at[k][0] = word(g, 0);
            at[k][1] = word(g, 8);
            if (TALL) { at[k][2 % (TALL ? 4 : 2)] = word(g + 8, 0); at[k][3 % (TALL ? 4 : 2)] = word(g + 8, 8); }
        }
    }
};

// A running softmax over pages: sums of values, largest scores (in powers of two) and total weights.
struct Running {
    float o[HEAD_DIM / 8][4], m[2], l[2];

    DEVICE void clear() {
        m[0] = m[1] = NOTHING;
        l[0] = l[1] = 0.f;
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) for (int j = 0; j < 4; j++) o[i][j] = 0.f;
    }

    // Takes page p, whose keys and values lie in shared memory.
    DEVICE void add(const Queries& queries, u32 keys, u32 values, int p, int position, int oldest, float scale, const float (&slope)[2], int lane) {
        int t = lane & 3, r = (lane & 7) + ((lane >> 4) << 3);
        float score[2][4] = {}, odd[2][4] = {};   // two sums each, for shorter chains
#pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; k++) {
            u32 b[4], q4[4] = {queries.at[k][0], TALL ? queries.at[k][2 % (TALL ? 4 : 2)] : 0u, queries.at[k][1], TALL ? queries.at[k][3 % (TALL ? 4 : 2)] : 0u};
            load_matrices(b, keys + chunk_offset(r, 2 * k + ((lane >> 3) & 1)));
            Mma<T_IN>::add(k % 2 ? odd[0] : score[0], q4, b[0], b[1]);
            Mma<T_IN>::add(k % 2 ? odd[1] : score[1], q4, b[2], b[3]);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) { score[0][i] += odd[0][i]; score[1][i] += odd[1][i]; }
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
    }

    // Total weights over the four lanes of a row.
    DEVICE void total() {
#pragma unroll
        for (int h = 0; h < HALVES; h++) {
            l[h] += __shfl_xor_sync(~0u, l[h], 1);
            l[h] += __shfl_xor_sync(~0u, l[h], 2);
        }
    }

    // The warp's part of parts [4][GROUP][HEAD_DIM], largest [4][GROUP] and weight [4][GROUP].
    DEVICE void store(float* parts, float* largest, float* weight, int warp, int lane) const {
        int t = lane & 3;
#pragma unroll
        for (int h = 0; h < HALVES; h++) {
            int r = (lane >> 2) + 8 * h;
            if (r >= GROUP) continue;
            if (t == 0) { largest[warp * GROUP + r] = m[h]; weight[warp * GROUP + r] = l[h]; }
#pragma unroll
            for (int i = 0; i < HEAD_DIM / 8; i++) *(float2*)(parts + (warp * GROUP + r) * HEAD_DIM + i * 8 + 2 * t) = make_float2(o[i][2 * h], o[i][2 * h + 1]);
        }
    }
};

// Slopes of the lane's heads in powers of two; zeros without ALiBi.
DEVICE void load_slopes(const SplitArguments& a, int head, int lane, float (&slope)[2]) {
    slope[0] = slope[1] = 0.f;
    if (a.slopes) for (int h = 0; h < HALVES; h++) if ((lane >> 2) + 8 * h < GROUP) slope[h] = a.slopes[head * GROUP + (lane >> 2) + 8 * h] * 1.44269504f;
}

// The newest page gets the new key and value, where they are given, and zeros past the context: what lies there must not reach the sums, not even
// as 0 · NaN.
DEVICE void finish_page(char* page, int used, const T_IN (*fresh)[HEAD_DIM], int lane) {
    if (fresh) {
        for (int i = lane; i < 2 * (HEAD_DIM / 8); i += 32) {
            int is_value = i / (HEAD_DIM / 8), c = i % (HEAD_DIM / 8);
            *(uint4*)(page + is_value * (PAGE_BYTES / 2) + chunk_offset(used - 1, c)) = *(const uint4*)(fresh[is_value] + c * 8);
        }
    }
    for (int i = lane; i < (16 - used) * (HEAD_DIM / 8); i += 32)
        *(uint4*)(page + PAGE_BYTES / 2 + chunk_offset(used + i / (HEAD_DIM / 8), i % (HEAD_DIM / 8))) = make_uint4(0, 0, 0, 0);
    __syncwarp();
}

// Two columns of a head over the warps of a CTA: their sums, the largest score and the total weight.
template <int WARPS> DEVICE float4 merge_warps(const float* parts, const float* largest, const float* weight, int r, int d) {
    float high = NOTHING, total = 0.f, x = 0.f, y = 0.f;
    for (int w = 0; w < WARPS; w++) high = fmaxf(high, largest[w * GROUP + r]);
    for (int w = 0; w < WARPS; w++) {
        float f = exp2_fast(largest[w * GROUP + r] - high);
        float2 v = *(const float2*)(parts + (w * GROUP + r) * HEAD_DIM + d);
        total += f * weight[w * GROUP + r];
        x += f * v.x;
        y += f * v.y;
    }
    return make_float4(x, y, high, total);
}
