// Draws one token for each logit row: penalties, temperature, top-k, top-p, min-p, then a uniform number by Philox4x32-10 (Salmon et al., 2011).
// First the most likely, by several CTAs a row; then, where more is asked for, one CTA a row. Probabilities are exponentials relative to the largest, in fixed point (2^-40): their sums are exact whatever the order,
// so a draw depends on nothing but the row, the seed and the position. Thresholds are found by radix selection instead of sorting, among the tokens near the
// largest where these decide.
#include "sampling.cuh"

#define THREADS 1024
#define WARPS 32
#define ONE 1099511627776.f   // 2^40
#define COPIES 4
#define LISTED 8               // tokens that a thread keeps at hand
#define REACHES 6              // 1, 3, 6, 10, 15, 21 below the largest: beyond 28 a mass is 0
#define REACH(r) (((r) + 1) * ((r) + 2) / 2)

struct SampleArguments {
    Batch batch;
    float* logits;
    const Sampling* sampling;   // by slot
    u32* const* counts;         // where the penalty counts [slots, vocabulary] lie; null before the first penalty
    int* last_drawn;            // by slot
    int* results;               // pinned host memory, two steps of [result_stride]
    u64* best;                  // [rows, slices]
    int vocabulary, result_stride, suppressed_tokens, slices;   // at most 32 slices
};

DEVICE u32 philox(u64 seed, u32 position) {
    u32 c0 = position, c1 = 0, c2 = 0, c3 = 0, k0 = (u32)seed, k1 = (u32)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        u64 p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
        c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
        c1 = (u32)p1;
        c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
        c3 = (u32)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c0;
}

DEVICE u64 warp_sum64(u64 v) {
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    return v;
}

DEVICE u64 block_sum64(u64 v, u64* parts) {
    v = warp_sum64(v);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = v;
    __syncthreads();
    return warp_sum64(parts[threadIdx.x & 31]);
}

struct Shared {
    u64 histogram[COPIES][256];
    float listed[LISTED][THREADS];   // a thread's own
    u64 parts[WARPS];
    u64 remaining, at_key;
    u32 digit;
    int drawn;
};

// The most likely token of a slice of each row, lower ids first among equals, after penalties; a row's key of all ones says NaN.
KERNEL __launch_bounds__(256) find_best(const SampleArguments a) {
    __shared__ u64 keys[8];
    let_next_start();
    wait_for_previous();
    int row = blockIdx.y, n = a.vocabulary, per = ((n + gridDim.x - 1) / gridDim.x + 3) / 4 * 4, first = min((int)blockIdx.x * per, n), end = min(first + per, n);
    const int* data = a.batch.data;
    if (row >= a.batch.logit_row_count()) return;
    int slot = data[a.batch.logit_slots + row];
    Sampling p = a.sampling[slot];
    float* logits = a.logits + (i64)row * n;
    if (p.penalizes()) {
        const u32* counts = *a.counts + (i64)slot * n;
        for (int i = first + threadIdx.x; i < end; i += 256) {
            u32 count = counts[i];
            if (!count) continue;
            float v = logits[i];
            v = v < 0.f ? v * p.repetition : v / p.repetition;
            u32 occurrences = count & 0x7fffffffu;
            if (occurrences) v -= p.presence + p.frequency * occurrences;
            logits[i] = v;
        }
        __syncthreads();
    }
    int suppressed = data[a.batch.suppressed_starts + row], suppressed_end = data[a.batch.suppressed_starts + row + 1];
    if (suppressed < suppressed_end) {
        for (int i = suppressed + threadIdx.x; i < suppressed_end; i += 256) {
            int token = data[a.suppressed_tokens + i];
            if (token >= first && token < end) logits[token] = -INFINITY;
        }
        __syncthreads();
    }
    u64 best = 0;
    auto consider = [&](float v, int i) {
        u64 key = v != v ? ~0ull : likelihood(v, i);
        if (key > best) best = key;
    };
    if (n % 4 == 0) {
#pragma unroll 4
        for (int i = first + threadIdx.x * 4; i < end; i += 1024) {
            float4 v = *(const float4*)(logits + i);
            consider(v.x, i); consider(v.y, i + 1); consider(v.z, i + 2); consider(v.w, i + 3);
        }
    } else {
        for (int i = first + threadIdx.x; i < end; i += 256) consider(logits[i], i);
    }
    best = warp_max64(best);
    if ((threadIdx.x & 31) == 0) keys[threadIdx.x >> 5] = best;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < 8; w++) if (keys[w] > best) best = keys[w];
        a.best[row * gridDim.x + blockIdx.x] = best;
    }
}

KERNEL __launch_bounds__(THREADS) sample(const SampleArguments a) {
    __shared__ Shared s;
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x, tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, n = a.vocabulary;
    const int* data = a.batch.data;
    if (row >= a.batch.logit_row_count()) return;
    int slot = data[a.batch.logit_slots + row];
    Sampling p = a.sampling[slot];
    float* logits = a.logits + (i64)row * n;
    if (tid == 0) s.drawn = -1;
    u64 best = warp_max64(lane < a.slices ? a.best[row * a.slices + lane] : 0);
    int likeliest = token_of(best);
    bool finite = best != ~0ull;
    float largest = finite ? logits[likeliest] : 0.f;
    finite = finite && largest < INFINITY && largest > -INFINITY;
    __syncthreads();

    float top = largest / p.temperature;
    bool draws = finite && p.temperature != 0.f && fabsf(top) < INFINITY;   // else the likeliest
    if (draws) {
        float raw_floor = -INFINITY;   // logits below it cannot be kept, and are taken for -INFINITY
        u32 low = 0;                   // keys below are dropped
        auto value = [&](float logit) { return logit < raw_floor ? -INFINITY : logit / p.temperature; };
        auto mass = [&](float v) { return (u64)(expf(v - top) * ONE); };
        auto raise_floor = [&](float floor) {
            float raw = floor * p.temperature;
            raw_floor = fmaxf(raw_floor, raw - fabsf(raw) * 1e-6f);   // the division's rounding aside
        };
        // What top-p drops at most of a mass.
        auto limit_of = [&](u64 total) { return min((u64)((1.0 - (double)p.top_p) * (double)total), total - 1); };
        // Raises the floor, and with it `low`, as near to the largest as a reach allows that holds enough of the weight: what select then goes
        // through are few tokens. Gives the weight of all. Weights are 1 (counting, for top-k) or masses (for top-p).
        auto narrow = [&](bool counting) {
            u64 within[REACHES] = {}, total = 0;
            for_each_logit<THREADS>(logits, n, [&](float logit, int) {
                float v = value(logit);
                if (ordered(v) < low) return;
                u64 weight = counting ? 1 : mass(v);
                total += weight;
                if (v < top - REACH(REACHES - 1)) return;
#pragma unroll
                for (int r = 0; r < REACHES; r++) if (v >= top - REACH(r)) within[r] += weight;
            });
            total = block_sum64(total, s.parts);
            u64 enough = counting ? (u64)p.top_k : total - limit_of(total);
#pragma unroll
            for (int r = 0; r < REACHES; r++) {
                if (block_sum64(within[r], s.parts) < enough) continue;
                float floor = top - REACH(r);
                raise_floor(floor);
                low = max(low, ordered(floor));
                break;
            }
            return total;
        };
        // Finds the key at which the running sum over falling keys first exceeds `target`; leaves in s.remaining what of the target is left within
        // that key, and in s.at_key the key's weight.
        auto select = [&](u64 target, bool counting) {
            u32 prefix = 0, high = ordered(top);
            bool listed = false;   // whether every thread keeps what it found in the last pass, for the next to go through
            int length = 0;
            if (tid == 0) s.remaining = target;
            for (int shift = 24; shift >= 0; shift -= 8) {
                if (shift && low >> shift == high >> shift) { prefix = high >> shift << shift; continue; }   // all share this digit
                for (int i = tid; i < COPIES * 256; i += THREADS) (&s.histogram[0][0])[i] = 0;
                __syncthreads();
                u32 digit = 0;   // weight of one digit is held back until another comes
                u64 held = 0;
                auto add = [&](float v) {
                    u32 key = ordered(v);
                    if (key < low || (shift < 24 && (key >> (shift + 8)) != (prefix >> (shift + 8)))) return;
                    if (!listed) { if (length < LISTED) s.listed[length][tid] = v; length++; }
                    if (held && digit != ((key >> shift) & 255)) { atomicAdd(&s.histogram[warp % COPIES][digit], held); held = 0; }
                    digit = (key >> shift) & 255;
                    held += counting ? 1 : mass(v);
                };
                if (listed) for (int i = 0; i < length; i++) add(s.listed[i][tid]);
                else for_each_logit<THREADS>(logits, n, [&](float logit, int) { add(value(logit)); });
                if (held) atomicAdd(&s.histogram[warp % COPIES][digit], held);
                bool overflows = __syncthreads_or(length > LISTED);
                listed = !overflows;
                if (overflows) length = 0;
                if (warp == 0) {
                    // Lane l owns 8 digits, in the order of the walk.
                    u64 own[8], sum = 0;
                    for (int j = 0; j < 8; j++) {
                        int digit = 255 - (lane * 8 + j);
                        own[j] = 0;
                        for (int c = 0; c < COPIES; c++) own[j] += s.histogram[c][digit];
                        sum += own[j];
                    }
                    u64 before = sum;
                    for (int o = 1; o < 32; o <<= 1) { u64 other = __shfl_up_sync(~0u, before, o); if (lane >= o) before += other; }
                    u64 left = s.remaining;
                    bool reached = before > left;
                    u32 mask = __ballot_sync(~0u, reached);
                    int owner = mask ? __ffs(mask) - 1 : 31;
                    __syncwarp();   // all have read what the owner writes
                    if (lane == owner) {
                        u64 running = before - sum, at = own[0];
                        int j = 0;
#pragma unroll
                        for (int d = 0; d < 7; d++) if (j == d && running + own[d] <= left) { running += own[d]; at = own[d + 1]; j = d + 1; }
                        s.digit = 255 - (lane * 8 + j);
                        s.remaining = left - running;
                        s.at_key = at;
                    }
                }
                __syncthreads();
                prefix |= s.digit << shift;
                __syncthreads();
            }
            return prefix;
        };
        if (p.top_k > 0 && p.top_k < n) {
            narrow(true);
            low = select((u64)p.top_k - 1, true);
        }
        u32 tie = 0;            // of the tokens with this key, the first `dropped` are dropped
        int dropped = 0;
        if (p.top_p < 1.f) {
            u64 total = narrow(false), limit = limit_of(total), target = total - limit - 1;
            low = tie = select(target, false);
            u64 weight = mass(__uint_as_float(tie >> 31 ? tie & 0x7fffffffu : ~tie)), below = total - (target - s.remaining) - s.at_key;
            dropped = weight ? (int)min((limit - below) / weight, (u64)n) : 0;
        }
        if (p.min_p > 0.f) raise_floor(top + logf(p.min_p) - 0.01f);
        // The mass of a value that is kept; `ties` runs along a warp's ids.
        auto kept = [&](float v, int& ties) {
            u32 key = ordered(v);
            float e = key < low ? 0.f : expf(v - top);
            u64 m = e < p.min_p ? 0 : (u64)(e * ONE);
            if (dropped) {
                u32 mask = __ballot_sync(~0u, key == tie);
                if ((mask >> lane & 1) && ties + __popc(mask & ((1u << lane) - 1)) < dropped) m = 0;
                ties += __popc(mask);
            }
            return m;
        };
        // Each warp owns a run of ids; first how many ties lie before it, then the masses.
        int per = ((n + WARPS - 1) / WARPS + 31) / 32 * 32, first = min(warp * per, n), end = min(first + per, n);
        int ties_before = 0;
        if (dropped) {
            int ties = 0;
            walk_logits(logits, first, end, [&](float logit, int) { ties += ordered(value(logit)) == tie; return true; });
            u64 sum = warp_sum64((u64)ties);
            __syncthreads();
            if (lane == 0) s.parts[warp] = sum;
            __syncthreads();
            for (int w = 0; w < warp; w++) ties_before += (int)s.parts[w];
        }
        u64 own = 0;
        int ties = ties_before;
        walk_logits(logits, first, end, [&](float logit, int) { own += kept(value(logit), ties); return true; });
        own = warp_sum64(own);
        __syncthreads();
        if (lane == 0) s.parts[warp] = own;
        __syncthreads();
        u64 total = 0, before = 0;
        for (int w = 0; w < WARPS; w++) { if (w == warp) before = total; total += s.parts[w]; }
        u64 target = __umul64hi(total, (u64)philox(p.seed, (u32)data[a.batch.logit_positions + row]) << 32);
        if (target >= before && target < before + own) {
            u64 running = before;
            ties = ties_before;
            walk_logits(logits, first, end, [&](float logit, int i) {
                u64 m = kept(value(logit), ties), inclusive = m;
                if (!__any_sync(~0u, m != 0)) return true;
                for (int o = 1; o < 32; o <<= 1) { u64 other = __shfl_up_sync(~0u, inclusive, o); if (lane >= o) inclusive += other; }
                u32 mask = __ballot_sync(~0u, running + inclusive > target);
                if (mask && lane == __ffs(mask) - 1) s.drawn = i;
                running += __shfl_sync(~0u, inclusive, 31);
                return mask == 0;
            });
        }
        __syncthreads();
    }
    if (tid == 0) {
        int drawn = !finite ? -1 : draws ? s.drawn : likeliest;
        a.results[data[7] * a.result_stride + row] = drawn;
        a.last_drawn[slot] = max(drawn, 0);
    }
}
