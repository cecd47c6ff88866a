// Queries and keys of each row are normalized, rotated and scaled in F32 and rounded once: queries go to the beginning of their own head's place, keys
// and values to their page of the cache. A warp a head; a CTA takes `heads_per_block` heads of one row.
#include "heads.cuh"

struct StoreArguments {
    Batch batch;
    float* qkv;
    T_IN* cache;
    HeadArguments heads;
    int heads_per_block;
};

KERNEL __launch_bounds__(256) store_kv(const StoreArguments a) {
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x, lane = threadIdx.x & 31, first = blockIdx.y * a.heads_per_block;
    if (row >= a.batch.token_count()) return;
    const int* data = a.batch.data;
    int position = data[a.batch.positions + row], rotary_row = position + data[a.batch.rotary_bases + data[a.batch.row_sequences + row]], place = data[a.batch.kv_slots + row];
    int all = a.heads.heads + 2 * a.heads.kv_heads, end = min(first + a.heads_per_block, all);
    float* vectors = a.qkv + (i64)row * all * HEAD_DIM;
    for (int head = first + (threadIdx.x >> 5); head < end; head += blockDim.x >> 5) {
        float v[PER_LANE];
        load_head(vectors + head * HEAD_DIM, v, lane);
        __syncwarp();   // all of it is read before any of it is overwritten
        int kind = a.heads.kind_of(head);
        if (kind != VALUE) finish_head(a.heads, kind, position, rotary_row, v, lane);
        if (kind == QUERY) store_head((T_IN*)(vectors + head * HEAD_DIM), v, lane);
        if (kind != QUERY) {
            int kv_head = head - a.heads.heads - (kind == VALUE ? a.heads.kv_heads : 0);
            cache_head(a.cache + (((i64)(place / PAGE) * a.heads.kv_heads + kv_head) * 2 + (kind == VALUE)) * (PAGE * HEAD_DIM), PAGE, place % PAGE, v, lane);
        }
    }
}
