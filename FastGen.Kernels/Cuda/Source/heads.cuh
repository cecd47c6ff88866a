// One head's vector in a warp: lane l holds columns [l · PER_LANE, …), so that halves of a rotated vector are 16 lanes apart.
#pragma once
#include "common.cuh"

#define PER_LANE ((HEAD_DIM + 31) / 32)
#define EVEN (HEAD_DIM % 64 == 0)   // every lane is full, and loads are whole words

enum HeadKind { QUERY, KEY, VALUE };

struct HeadArguments {
    const float* rotary;
    const float* query_gamma;
    const float* query_beta;
    const float* key_gamma;
    const float* key_beta;
    const float* query_scales;
    float query_epsilon, key_epsilon;
    int heads, kv_heads, rotary_columns, query_norm, key_norm;   // norms: 0 none, 1 RMS, 2 layer
    DEVICE int kind_of(int head) const { return head < heads ? QUERY : head < heads + kv_heads ? KEY : VALUE; }
};

// PER_LANE values that lie at a multiple of their size.
DEVICE void load_values(const float* p, float (&v)[PER_LANE]) {
    if constexpr (EVEN && PER_LANE % 4 == 0) {
#pragma unroll
        for (int i = 0; i < PER_LANE; i += 4) { float4 f = *(const float4*)(p + i); v[i] = f.x; v[i + 1] = f.y; v[i + 2] = f.z; v[i + 3] = f.w; }
    } else {
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) v[i] = p[i];
    }
}

DEVICE void load_head(const float* p, float (&v)[PER_LANE], int lane) {
    p += lane * PER_LANE;
    if constexpr (EVEN) load_values(p, v);
    else {
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) v[i] = lane * PER_LANE + i < HEAD_DIM ? p[i] : 0.f;
    }
}
template <class T> DEVICE void store_head(T* p, const float (&v)[PER_LANE], int lane) {
    p += lane * PER_LANE;
    if constexpr (EVEN && sizeof(T) == 2) {
#pragma unroll
        for (int i = 0; i < PER_LANE; i += 2) *(u32*)(p + i) = Pair<T>::of(v[i], v[i + 1]);
    } else {
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) if (lane * PER_LANE + i < HEAD_DIM) p[i] = from_float<T>(v[i]);
    }
}
// Into a token's place of a page.
template <class T> DEVICE void cache_head(T* page, int page_tokens, int token, const float (&v)[PER_LANE], int lane) {
    if constexpr (EVEN && sizeof(T) == 2) {
#pragma unroll
        for (int i = 0; i < PER_LANE; i += 2) *(u32*)(page + cached_place<T, HEAD_DIM>(page_tokens, token, lane * PER_LANE + i)) = Pair<T>::of(v[i], v[i + 1]);
    } else {
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            int column = lane * PER_LANE + i;
            if (column < HEAD_DIM) page[cached_place<T, HEAD_DIM>(page_tokens, token, column)] = from_float<T>(v[i]);
        }
    }
}

// What a query's or key's norm, rotation and scale take besides the vector: known before the vector is.
struct HeadFactors {
    float gamma[PER_LANE], beta[PER_LANE], cosine[PER_LANE], sine[PER_LANE], scale;
};

DEVICE void load_factors(const HeadArguments& a, int kind, int position, int rotary_row, HeadFactors& f, int lane) {
    const float* gamma = kind == QUERY ? a.query_gamma : a.key_gamma;
    const float* beta = kind == QUERY ? a.query_beta : a.key_beta;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
        int column = lane * PER_LANE + i;
        f.gamma[i] = gamma && column < HEAD_DIM ? gamma[column] : 1.f;
        f.beta[i] = beta && column < HEAD_DIM ? beta[column] : 0.f;
        f.cosine[i] = 1.f;
        f.sine[i] = 0.f;
    }
    if (a.rotary) {
        int half = a.rotary_columns / 2;
        const float* table = a.rotary + (i64)rotary_row * a.rotary_columns;
        if (EVEN && a.rotary_columns == HEAD_DIM) {
            load_values(table + (lane & 15) * PER_LANE, f.cosine);
            load_values(table + half + (lane & 15) * PER_LANE, f.sine);
        } else {
#pragma unroll
            for (int i = 0; i < PER_LANE; i++) {
                int column = lane * PER_LANE + i;
                if (column >= 2 * half) continue;
                f.cosine[i] = table[column < half ? column : column - half];
                f.sine[i] = table[column < half ? half + column : column];
            }
        }
    }
    f.scale = kind == QUERY && a.query_scales ? a.query_scales[position] : 1.f;
}

// Norm, rotation and scale of a query or key.
DEVICE void finish_head(const HeadArguments& a, int kind, const HeadFactors& f, float (&v)[PER_LANE], int lane) {
    int norm = kind == QUERY ? a.query_norm : a.key_norm;
    if (norm) {
        float mean = 0.f, squares = 0.f;
        if (norm == 2) {
#pragma unroll
            for (int i = 0; i < PER_LANE; i++) mean += v[i];
            mean = warp_sum(mean) / HEAD_DIM;
        }
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) if (lane * PER_LANE + i < HEAD_DIM) squares += (v[i] - mean) * (v[i] - mean);
        float scale = rsqrtf(warp_sum(squares) / HEAD_DIM + (kind == QUERY ? a.query_epsilon : a.key_epsilon));
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) if (lane * PER_LANE + i < HEAD_DIM) v[i] = (v[i] - mean) * scale * f.gamma[i] + f.beta[i];
    }
    if (a.rotary) {
        int half = a.rotary_columns / 2;
        if (EVEN && a.rotary_columns == HEAD_DIM) {
            bool upper = lane >= 16;
#pragma unroll
            for (int i = 0; i < PER_LANE; i++) {
                float other = __shfl_xor_sync(~0u, v[i], 16);
                v[i] = upper ? v[i] * f.cosine[i] + other * f.sine[i] : v[i] * f.cosine[i] - other * f.sine[i];
            }
        } else {
            float old[PER_LANE];
#pragma unroll
            for (int i = 0; i < PER_LANE; i++) old[i] = v[i];
#pragma unroll
            for (int i = 0; i < PER_LANE; i++) {
                int column = lane * PER_LANE + i, partner = column < half ? column + half : column - half;
                float other = 0.f;   // the partner's lane and place differ from lane to lane: ask for each place in turn
#pragma unroll
                for (int j = 0; j < PER_LANE; j++) {
                    float candidate = __shfl_sync(~0u, old[j], (partner < 0 ? 0 : partner) / PER_LANE & 31);
                    if (partner % PER_LANE == j) other = candidate;
                }
                if (column < 2 * half) v[i] = column < half ? old[i] * f.cosine[i] - other * f.sine[i] : old[i] * f.cosine[i] + other * f.sine[i];
            }
        }
    }
    if (kind == QUERY && a.query_scales) {
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) v[i] *= f.scale;
    }
}

DEVICE void finish_head(const HeadArguments& a, int kind, int position, int rotary_row, float (&v)[PER_LANE], int lane) {
    HeadFactors factors;
    load_factors(a, kind, position, rotary_row, factors, lane);
    finish_head(a, kind, factors, v, lane);
}
