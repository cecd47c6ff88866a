// The beginning of a step: the host's pinned metadata becomes the device's, and the slots take over what changed. These kernels do not let
// their successors start early, so that all later kernels of the step may read metadata and block tables before they wait.
#include "common.cuh"

#define SECTIONS 16
#define SAMPLING_INTS 12

struct BeginArguments {
    const int* host;          // pinned
    int* device;
    int offsets[SECTIONS], counts[SECTIONS];
    int block_updates, block_update_count;         // triples of slot, index, block
    int sampling_updates, sampling_update_count;   // 14 ints each: slot, padding, SlotSampling
    int* block_tables;
    int* sampling;
    int blocks_per_sequence;
};

KERNEL begin_step(const BeginArguments a) {
    wait_for_previous();
    if (blockIdx.x < SECTIONS) {
        int offset = a.offsets[blockIdx.x], count = a.counts[blockIdx.x];
        for (int i = threadIdx.x; i < count; i += blockDim.x) a.device[offset + i] = a.host[offset + i];
    } else if (blockIdx.x == SECTIONS) {
        for (int i = threadIdx.x; i < a.block_update_count; i += blockDim.x) {
            const int* update = a.host + a.block_updates + 3 * i;
            a.block_tables[(i64)update[0] * a.blocks_per_sequence + update[1]] = update[2];
        }
    } else {
        for (int i = threadIdx.x; i < a.sampling_update_count * SAMPLING_INTS; i += blockDim.x) {
            const int* update = a.host + a.sampling_updates + (2 + SAMPLING_INTS) * (i / SAMPLING_INTS);
            a.sampling[update[0] * SAMPLING_INTS + i % SAMPLING_INTS] = update[2 + i % SAMPLING_INTS];
        }
    }
}

// Counts the step's tokens for the slots with penalties: bit 31 says that a token stands in the sequence, the rest how often in its output.
struct CountArguments {
    Batch batch;
    const int* last_drawn;
    const int* sampling;
    u32* counts;
    int vocabulary;
};

KERNEL count_tokens(const CountArguments a) {
    wait_for_previous();
    const int* data = a.batch.data;
    for (int row = blockIdx.x * blockDim.x + threadIdx.x; row < a.batch.token_count(); row += gridDim.x * blockDim.x) {
        int slot = data[a.batch.sequence_slots + data[a.batch.row_sequences + row]];
        const int* sampling = a.sampling + slot * SAMPLING_INTS;
        const float* values = (const float*)sampling;
        if (values[3] == 1.f && values[4] == 0.f && values[5] == 0.f) continue;
        int token = data[a.batch.tokens + row];
        if (token < 0) token = a.last_drawn[~token];
        if (token >= a.vocabulary) continue;
        u32* count = a.counts + (i64)slot * a.vocabulary + token;
        atomicOr(count, 0x80000000u);
        if (data[a.batch.positions + row] >= sampling[7]) atomicAdd(count, 1u);
    }
}
