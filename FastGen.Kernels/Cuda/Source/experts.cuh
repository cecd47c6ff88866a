// Work grouped by expert: up to `most` visits (one row at one expert) are a unit; experts without visits have none.
#pragma once
#include "tensorcores.cuh"

struct ExpertUnit {
    int expert, first, end;   // the unit's visits

    // The unit of that number, of all experts in turn; false where there are fewer. By a whole warp.
    DEVICE bool seek(const int* starts, int experts, int most, int unit, int lane) {
        for (int e0 = 0; e0 < experts; e0 += 32) {
            int e = e0 + lane, own = e < experts ? (starts[e + 1] - starts[e] + most - 1) / most : 0, sum = own;
#pragma unroll
            for (int o = 1; o < 32; o <<= 1) { int v = __shfl_up_sync(~0u, sum, o); if (lane >= o) sum += v; }
            u32 past = __ballot_sync(~0u, unit < sum);
            if (past == 0) {
                unit -= __shfl_sync(~0u, sum, 31);
                continue;
            }
            int l = __ffs(past) - 1;
            expert = e0 + l;
            first = starts[expert] + (unit - __shfl_sync(~0u, sum - own, l)) * most;
            end = min(first + most, starts[expert + 1]);
            return true;
        }
        return false;
    }
    DEVICE void advance(const int* starts, int experts, int most) {
        if (end < starts[expert + 1]) {
            first = end;
        } else {
            do expert++; while (expert < experts && starts[expert + 1] == starts[expert]);
            if (expert == experts) return;
            first = starts[expert];
        }
        end = min(first + most, starts[expert + 1]);
    }
};

// By a whole warp.
DEVICE int count_units(const int* starts, int experts, int most, int lane) {
    int sum = 0;
    for (int e = lane; e < experts; e += 32) sum += (starts[e + 1] - starts[e] + most - 1) / most;
#pragma unroll
    for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
    return sum;
}

// Where each expert's visits begin, past the first-level cache: routing has ended, but perhaps this kernel has not yet waited for anything.
DEVICE void load_starts(int* to, const int* starts, int experts) {
    const volatile int* from = starts;
    for (int e = threadIdx.x; e <= experts; e += blockDim.x) to[e] = from[e];
}
