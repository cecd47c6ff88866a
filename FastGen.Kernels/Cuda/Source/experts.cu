// Around the products of a sparse mixture of experts: rows copied into the order of experts, where tensor maps read them, and weighted results
// added up.
#include "common.cuh"

struct GatherArguments {
    const uint4* input;     // [rows, vectors]
    uint4* output;          // [rows · top, vectors]
    const int* sources;
    const int* starts;
    int experts, vectors;
};

// Rows in order of expert.
KERNEL gather(const GatherArguments a) {
    let_next_start();
    wait_for_previous();
    int visit = blockIdx.x;
    if (visit >= a.starts[a.experts]) return;
    const uint4* from = a.input + (i64)a.sources[visit] * a.vectors;
    uint4* to = a.output + (i64)visit * a.vectors;
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < a.vectors; i += gridDim.y * blockDim.x) to[i] = from[i];
}

struct CombineArguments {
    const float* results;         // [parts, rows · top, columns] in order of expert
    const float* probabilities;
    const int* places;
    T_OUT* output;
    i64 part;                     // values between two parts
    int columns, top, parts;
};

// output += Σ probability · result, in the order in which the row chose.
KERNEL combine(const CombineArguments a) {
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x;
    const float* probabilities = a.probabilities + (i64)row * a.top;
    const int* places = a.places + (i64)row * a.top;
    T_OUT* output = a.output + (i64)row * a.columns;
    int i = (blockIdx.y * blockDim.x + threadIdx.x) * 4;
    if (i >= a.columns || places[0] < 0) return;
    int count = a.columns % 4 == 0 ? 4 : min(4, a.columns - i);
    float sum[4];
    for (int j = 0; j < 4; j++) sum[j] = j < count ? to_float(output[i + j]) : 0.f;
    for (int k = 0; k < a.top; k++) {
        const float* result = a.results + (i64)places[k] * a.columns + i;
        float total[4] = {};
        for (int q = 0; q < a.parts; q++, result += a.part) {
            if (a.columns % 4 == 0) {
                float4 v = *(const float4*)result;
                total[0] += v.x; total[1] += v.y; total[2] += v.z; total[3] += v.w;
            } else {
                for (int j = 0; j < count; j++) total[j] += result[j];
            }
        }
        for (int j = 0; j < 4; j++) sum[j] = fmaf(probabilities[k], total[j], sum[j]);
    }
    for (int j = 0; j < count; j++) output[i + j] = from_float<T_OUT>(sum[j]);
}
