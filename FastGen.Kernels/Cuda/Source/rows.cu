// Operations row by row: embedding, positions, norms, activations, selection, conversion.
#include "common.cuh"

struct EmbedArguments {
    Batch batch;
    const int* last_drawn;
    const T_WEIGHT* table;
    T_OUT* output;
    int columns, table_rows, offset;
};

KERNEL embed(const EmbedArguments a) {
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x;
    if (row >= a.batch.token_count()) return;
    int token = a.batch.data[a.batch.tokens + row];
    if (token < 0) token = a.last_drawn[~token];
    token = min(max(token, 0), a.table_rows - 1);
    const T_WEIGHT* from = a.table + (i64)token * a.columns;
    T_OUT* to = a.output + (i64)row * a.columns;
    if (a.columns % 8 == 0) {
        for (int i = threadIdx.x * 8; i < a.columns; i += blockDim.x * 8) {
            float v[8];
            load8(from + i, v);
            store8(to + i, v);
        }
    } else {
        for (int i = threadIdx.x; i < a.columns; i += blockDim.x) to[i] = from_float<T_OUT>(to_float(from[i]));
    }
}

KERNEL add_positions(const EmbedArguments a) {
    let_next_start();
    wait_for_previous();
    int row = blockIdx.x;
    if (row >= a.batch.token_count()) return;
    int position = min(max(a.batch.data[a.batch.positions + row] + a.offset, 0), a.table_rows - 1);
    const T_WEIGHT* from = a.table + (i64)position * a.columns;
    T_OUT* to = a.output + (i64)row * a.columns;
    for (int i = threadIdx.x; i < a.columns; i += blockDim.x) to[i] = from_float<T_OUT>(to_float(to[i]) + to_float(from[i]));
}

struct NormArguments {
    const T_IN* input;
    T_OUT* output;
    const float* gamma;
    const float* beta;
    float epsilon;
    int columns;
};

// NORM: 1 RMS, 2 layer norm. One CTA a row; a thread keeps up to 8 × HELD values in registers.
#define HELD 4
KERNEL __launch_bounds__(512) norm_rows(const NormArguments a) {
    __shared__ float parts[32];
    let_next_start();
    wait_for_previous();
    const T_IN* input = a.input + (i64)blockIdx.x * a.columns;
    T_OUT* output = a.output + (i64)blockIdx.x * a.columns;
    bool held = a.columns % 8 == 0 && a.columns <= 8 * HELD * blockDim.x;
    float v[HELD][8], mean = 0.f, squares = 0.f;
    if (held) {
#pragma unroll
        for (int h = 0; h < HELD; h++) {
            int i = (threadIdx.x + h * blockDim.x) * 8;
            if (i < a.columns) load8(input + i, v[h]);
            else for (int j = 0; j < 8; j++) v[h][j] = 0.f;
        }
        if (NORM == 2) {
            float sum = 0.f;
#pragma unroll
            for (int h = 0; h < HELD; h++) for (int j = 0; j < 8; j++) sum += v[h][j];
            mean = block_sum(sum, parts) / a.columns;
        }
#pragma unroll
        for (int h = 0; h < HELD; h++) {
            if ((threadIdx.x + h * blockDim.x) * 8 < a.columns) for (int j = 0; j < 8; j++) { float d = v[h][j] - mean; squares += d * d; }
        }
    } else {
        if (NORM == 2) {
            float sum = 0.f;
            for (int i = threadIdx.x; i < a.columns; i += blockDim.x) sum += to_float(input[i]);
            mean = block_sum(sum, parts) / a.columns;
        }
        for (int i = threadIdx.x; i < a.columns; i += blockDim.x) { float d = to_float(input[i]) - mean; squares += d * d; }
    }
    float scale = 1.f / sqrtf(block_sum(squares, parts) / a.columns + a.epsilon);
    if (held) {
#pragma unroll
        for (int h = 0; h < HELD; h++) {
            int i = (threadIdx.x + h * blockDim.x) * 8;
            if (i >= a.columns) continue;
            float g[8], b[8];
            load8(a.gamma + i, g);
            if (a.beta) load8(a.beta + i, b);
            for (int j = 0; j < 8; j++) v[h][j] = (v[h][j] - mean) * scale * g[j] + (a.beta ? b[j] : 0.f);
            store8(output + i, v[h]);
        }
    } else {
        for (int i = threadIdx.x; i < a.columns; i += blockDim.x)
            output[i] = from_float<T_OUT>((to_float(input[i]) - mean) * scale * a.gamma[i] + (a.beta ? a.beta[i] : 0.f));
    }
}

// What follows a product that has no room for it in its own epilogue. GATED: input is [rows, gate | up].
struct EpilogueArguments {
    const T_IN* input;
    T_OUT* output;
    const float* bias;
    int rows, columns;   // of the output
};

KERNEL epilogue(const EpilogueArguments a) {
    let_next_start();
    wait_for_previous();
    int vectors = a.columns / 8;
    if (a.columns % 8 == 0) {
        for (i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x; at < (i64)a.rows * vectors; at += (i64)gridDim.x * blockDim.x) {
            int row = (int)(at / vectors), column = (int)(at % vectors) * 8;
            const T_IN* from = a.input + (i64)row * a.columns * (GATED ? 2 : 1) + column;
            T_OUT* to = a.output + (i64)row * a.columns + column;
            float v[8], u[8];
            load8(from, v);
            if (a.bias) for (int j = 0; j < 8; j++) v[j] += a.bias[column + j];
            for (int j = 0; j < 8; j++) v[j] = activate<ACTIVATION>(v[j]);
            if (GATED) {
                load8(from + a.columns, u);
                for (int j = 0; j < 8; j++) v[j] *= a.bias ? u[j] + a.bias[a.columns + column + j] : u[j];
            }
            if (ACCUMULATE) {
                load8(to, u);
                for (int j = 0; j < 8; j++) v[j] += u[j];
            }
            store8(to, v);
        }
        return;
    }
    for (i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x; at < (i64)a.rows * a.columns; at += (i64)gridDim.x * blockDim.x) {
        int row = (int)(at / a.columns), column = (int)(at % a.columns);
        const T_IN* from = a.input + (i64)row * a.columns * (GATED ? 2 : 1) + column;
        float v = activate<ACTIVATION>(to_float(from[0]) + (a.bias ? a.bias[column] : 0.f));
        if (GATED) v *= to_float(from[a.columns]) + (a.bias ? a.bias[a.columns + column] : 0.f);
        T_OUT* to = a.output + at;
        to[0] = from_float<T_OUT>(ACCUMULATE ? to_float(to[0]) + v : v);
    }
}

// output[i] += sigmoid(gate[i]) · product[i]
struct AddGatedArguments {
    const float* gate;
    const float* product;
    T_OUT* output;
    int columns;
};

KERNEL add_gated(const AddGatedArguments a) {
    let_next_start();
    wait_for_previous();
    float share = 1.f / (1.f + expf(-a.gate[blockIdx.x]));
    T_OUT* to = a.output + (i64)blockIdx.x * a.columns;
    const float* from = a.product + (i64)blockIdx.x * a.columns;
    for (int i = threadIdx.x; i < a.columns; i += blockDim.x) to[i] = from_float<T_OUT>(to_float(to[i]) + share * from[i]);
}

struct SelectArguments {
    Batch batch;
    const T_IN* input;
    T_OUT* output;
    int columns;
};

KERNEL select_rows(const SelectArguments a) {
    let_next_start();
    wait_for_previous();
    if (blockIdx.x >= a.batch.logit_row_count()) return;
    const T_IN* from = a.input + (i64)a.batch.data[a.batch.logit_rows + blockIdx.x] * a.columns;
    T_OUT* to = a.output + (i64)blockIdx.x * a.columns;
    for (int i = threadIdx.x; i < a.columns; i += blockDim.x) to[i] = from_float<T_OUT>(to_float(from[i]));
}

// Uploads and downloads between storage types.
struct ConvertArguments {
    const T_IN* input;
    T_OUT* output;
    i64 count;
};

KERNEL convert(const ConvertArguments a) {
    let_next_start();
    wait_for_previous();
    for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < a.count; i += (i64)gridDim.x * blockDim.x) a.output[i] = from_float<T_OUT>(to_float(a.input[i]));
}
