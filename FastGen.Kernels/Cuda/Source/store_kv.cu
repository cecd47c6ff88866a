// Queries and keys of each row are normalized, rotated and scaled in place; keys and values go to their page of the cache. A warp a head.
#include "common.cuh"

#define PER_LANE ((HEAD_DIM + 31) / 32)

struct StoreArguments {
    Batch batch;
    T_IN* qkv;
    T_IN* cache;
    const float* rotary;
    const float* query_gamma;
    const float* query_beta;
    const float* key_gamma;
    const float* key_beta;
    const float* query_scales;
    float query_epsilon, key_epsilon;
    int heads, kv_heads, rotary_columns, query_norm, key_norm;   // norms: 0 none, 1 RMS, 2 layer
};

KERNEL __launch_bounds__(128) store_kv(const StoreArguments a) {
    __shared__ float shared[4][HEAD_DIM];
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x, lane = threadIdx.x & 31, head = blockIdx.y * 4 + (threadIdx.x >> 5), columns = (a.heads + 2 * a.kv_heads) * HEAD_DIM;
    if (row >= a.batch.token_count() || head >= a.heads + 2 * a.kv_heads) return;
    const int* data = a.batch.data;
    T_IN* vector = a.qkv + (i64)row * columns + head * HEAD_DIM;
    float* v = shared[threadIdx.x >> 5];
    bool is_query = head < a.heads, is_value = head >= a.heads + a.kv_heads;
    for (int i = lane; i < HEAD_DIM; i += 32) v[i] = to_float(vector[i]);
    __syncwarp();
    if (!is_value) {
        int position = data[a.batch.positions + row], kind = is_query ? a.query_norm : a.key_norm;
        if (kind) {
            const float* gamma = is_query ? a.query_gamma : a.key_gamma;
            const float* beta = is_query ? a.query_beta : a.key_beta;
            float mean = 0.f, squares = 0.f;
            if (kind == 2) {
                for (int i = lane; i < HEAD_DIM; i += 32) mean += v[i];
                mean = warp_sum(mean) / HEAD_DIM;
            }
            for (int i = lane; i < HEAD_DIM; i += 32) squares += (v[i] - mean) * (v[i] - mean);
            float scale = 1.f / sqrtf(warp_sum(squares) / HEAD_DIM + (is_query ? a.query_epsilon : a.key_epsilon));
            for (int i = lane; i < HEAD_DIM; i += 32) v[i] = (v[i] - mean) * scale * gamma[i] + (beta ? beta[i] : 0.f);
            __syncwarp();
        }
        if (a.rotary) {
            int half = a.rotary_columns / 2;
            const float* table = a.rotary + (i64)(position + data[a.batch.rotary_bases + data[a.batch.row_sequences + row]]) * a.rotary_columns;
            for (int i = lane; i < half; i += 32) {
                float x = v[i], y = v[half + i], c = table[i], s = table[half + i];
                v[i] = x * c - y * s;
                v[half + i] = y * c + x * s;
            }
            __syncwarp();
        }
        float factor = is_query && a.query_scales ? a.query_scales[position] : 1.f;
        for (int i = lane; i < HEAD_DIM; i += 32) {
            v[i] *= factor;
            vector[i] = from_float<T_IN>(v[i]);
        }
    }
    if (is_query) return;
    int place = data[a.batch.kv_slots + row], in_page = place % PAGE, kv_head = head - a.heads - (is_value ? a.kv_heads : 0);
    T_IN* target = a.cache + (((i64)(place / PAGE) * a.kv_heads + kv_head) * 2 + is_value) * (PAGE * HEAD_DIM) + in_page * HEAD_DIM;
    for (int i = lane; i < HEAD_DIM; i += 32) target[cached_column<T_IN, HEAD_DIM>(in_page, i)] = from_float<T_IN>(v[i]);
}
