// Paged attention of any shape with plain FP32 arithmetic: a warp for each query row and head, an online softmax over blocks of 32 keys.
#include "attention.cuh"

#define PER_LANE ((HEAD_DIM + 31) / 32)

KERNEL __launch_bounds__(128) attention(const AttentionArguments a) {
    __shared__ float queries[4][HEAD_DIM], weights[4][32];
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, head = blockIdx.y * 4 + warp;
    if (row >= a.batch.token_count() || head >= a.heads) return;
    const int* data = a.batch.data;
    int position = data[a.batch.positions + row], slot = data[a.batch.sequence_slots + data[a.batch.row_sequences + row]];
    int kv_head = head / (a.heads / a.kv_heads), first = a.window ? max(0, position - a.window + 1) : 0;
    const int* blocks = a.block_tables + (i64)slot * a.blocks_per_sequence;
    const T_IN* query = a.query(row, head);
    float* q = queries[warp];
    for (int i = lane; i < HEAD_DIM; i += 32) q[i] = to_float(query[i]);
    __syncwarp();
    float mixed[PER_LANE] = {}, largest = -INFINITY, sum = 0.f, slope = a.slopes ? a.slopes[head] : 0.f;
    auto cached = [&](int place, int is_value) {
        int at = blocks[place / a.block_size] * a.block_size + place % a.block_size;
        return a.cache + (((i64)(at / PAGE) * a.kv_heads + kv_head) * 2 + is_value) * (PAGE * HEAD_DIM);
    };
    for (int start = first; start <= position; start += 32) {
        int place = start + lane, in_page = place % a.block_size % PAGE;
        float score = -INFINITY;
        if (place <= position) {
            const T_IN* key = cached(place, 0);
            float dot = 0.f;
            for (int i = 0; i < HEAD_DIM; i++) dot = fmaf(q[i], to_float(key[cached_place<T_IN, HEAD_DIM>(PAGE, in_page, i)]), dot);
            score = dot * a.scale + slope * (place - position);
        }
        float raised = fmaxf(largest, warp_max(score)), shrink = expf(largest - raised), weight = expf(score - raised);
        largest = raised;
        sum = sum * shrink + warp_sum(weight);
        weights[warp][lane] = weight;
        __syncwarp();
#pragma unroll
        for (int j = 0; j < PER_LANE; j++) mixed[j] *= shrink;
        int count = min(32, position + 1 - start);
        for (int k = 0; k < count; k++) {
            const T_IN* value = cached(start + k, 1);
            int value_in_page = (start + k) % a.block_size % PAGE;
            float w = weights[warp][k];
#pragma unroll
            for (int j = 0; j < PER_LANE; j++) {
                int i = lane + 32 * j;
                if (i < HEAD_DIM) mixed[j] = fmaf(w, to_float(value[cached_place<T_IN, HEAD_DIM>(PAGE, value_in_page, i)]), mixed[j]);
            }
        }
        __syncwarp();
    }
    T_IN* target = a.output + ((i64)row * a.heads + head) * HEAD_DIM;
#pragma unroll
    for (int j = 0; j < PER_LANE; j++) if (lane + 32 * j < HEAD_DIM) target[lane + 32 * j] = from_float<T_IN>(mixed[j] / sum);
}
