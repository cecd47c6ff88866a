// Log probabilities of the rows that ask for them: the log-softmax of the logits as the model gave them. `weigh` comes before the draw, which changes
// logits in place, and `finish` after it, when the drawn token is known. A CTA a row in a fixed order: a row's values depend on nothing but the row.
#include "sampling.cuh"

#define THREADS 1024

struct LogProbability { int token; float value; };

struct LogProbabilityArguments {
    Batch batch;
    const float* logits;
    float* kept;                // [rows, vocabulary] rows as they were before penalties and suppressed tokens; null where no row that asks has them
    float* normalizers;         // [rows]
    const Sampling* sampling;   // by slot
    const int* last_drawn;      // by slot
    LogProbability* results;    // pinned host memory, two steps of [sequences, per_row]
    int vocabulary, sequences, per_row;
    DEVICE LogProbability* row_results(int row) const { return results + ((i64)batch.data[7] * sequences + row) * per_row; }
};

DEVICE bool draw_changes(const LogProbabilityArguments& a, const Sampling& p, int row) {
    const int* suppressed = a.batch.data + a.batch.suppressed_starts + row;
    return p.penalizes() || suppressed[0] < suppressed[1];
}

KERNEL __launch_bounds__(THREADS) weigh(const LogProbabilityArguments a) {
    __shared__ u64 bests[32];
    __shared__ float parts[32];
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x, tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, n = a.vocabulary;
    if (row >= a.batch.logit_row_count()) return;
    Sampling p = a.sampling[a.batch.data[a.batch.logit_slots + row]];
    if (p.log_probabilities == 0) return;
    const float* logits = a.logits + (i64)row * n;
    bool keeps = a.kept && draw_changes(a, p, row);

    // A thread owns every THREADS-th vector of the row; `own` is the most likely of its tokens that is not yet given out.
    int width = vector_width(n);
    u64 own = 0;
    for_each_logit<THREADS>(logits, n, [&](float v, int i) {
        u64 key = likelihood(v, i);
        if (key > own) own = key;
        if (keeps) a.kept[(i64)row * n + i] = v;
    });
    u64 warps_best = warp_max64(own);
    auto best_of_all = [&]() {
        if (lane == 0) bests[warp] = warps_best;
        __syncthreads();
        return warp_max64(bests[lane]);
    };
    u64 best = best_of_all();
    float largest = logits[token_of(best)], sum = 0.f;
    for_each_logit<THREADS>(logits, n, [&](float v, int) { sum += expf(v - largest); });
    float normalizer = largest + logf(block_sum(sum, parts));
    if (tid == 0) a.normalizers[row] = normalizer;

    LogProbability* results = a.row_results(row);
    for (int k = 1; k < p.log_probabilities && k <= n; k++) {
        int token = token_of(best), owner = token / width % THREADS;
        if (tid == 0) results[k] = {token, logits[token] - normalizer};
        if (warp == owner >> 5) {   // its warp looks for the next of the owner's tokens
            u64 next = 0;
            for (int v = owner + THREADS * lane; v * width < n; v += THREADS * 32) {
                for (int i = v * width; i < (v + 1) * width; i++) {
                    u64 key = likelihood(logits[i], i);
                    if (key < best && key > next) next = key;
                }
            }
            next = warp_max64(next);
            if (lane == (owner & 31)) own = next;
            warps_best = warp_max64(own);
        }
        __syncthreads();
        best = best_of_all();
    }
}

KERNEL finish(const LogProbabilityArguments a) {
    let_next_start();
    wait_for_previous();
    const int* data = a.batch.data;
    for (int row = blockIdx.x * blockDim.x + threadIdx.x; row < a.batch.logit_row_count(); row += gridDim.x * blockDim.x) {
        int slot = data[a.batch.logit_slots + row];
        Sampling p = a.sampling[slot];
        if (p.log_probabilities == 0) continue;
        int token = a.last_drawn[slot];
        const float* logits = a.kept && draw_changes(a, p, row) ? a.kept : a.logits;
        a.row_results(row)[0] = {token, logits[(i64)row * a.vocabulary + token] - a.normalizers[row]};
    }
}
