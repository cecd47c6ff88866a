using FastGen.Compute;

namespace FastGen.Kernels.Reference;

// Operations on rows: embedding, norms and products.
internal sealed unsafe partial class ReferenceBackend
{
    public void Embed(Tensor output, Tensor table, RaggedBatch batch)
    {
        for (int row = 0; row < batch.TokenCount; row++)
        {
            int token = Slots.Resolve(batch.Tokens[row]);
            if ((uint)token >= (uint)table.Rows) throw new ArgumentOutOfRangeException(nameof(batch), token, $"Row {row} holds token {token}; the table has {table.Rows} rows.");
            ReadRow(table, token, Row(output, row));
        }
    }

    public void AddPositions(Tensor output, Tensor table, int offset, RaggedBatch batch)
    {
        float[] learned = new float[table.Columns];
        for (int row = 0; row < batch.TokenCount; row++)
        {
            ReadRow(table, batch.Positions[row] + offset, learned);
            Add(Row(output, row), learned);
        }
    }

    public void Norm(Tensor output, Tensor input, NormWeights weights)
    {
        for (int row = 0; row < input.Rows; row++) Normalize(Row(input, row), Row(output, row), weights);
    }

    public void Linear(Tensor output, in LinearInput input, LinearWeights weights, Activation activation = Activation.None, bool accumulate = false)
    {
        float[][] products = Product(input, weights.Weight, 0, weights.Outputs, weights.Bias);
        for (int row = 0; row < output.Rows; row++)
        {
            Span<float> target = Row(output, row);
            for (int i = 0; i < target.Length; i++)
            {
                float value = Activate(activation, products[row][i]);
                target[i] = accumulate ? target[i] + value : value;
            }
        }
    }

    public void GatedLinear(Tensor output, in LinearInput input, LinearWeights gateUp, Activation activation)
    {
        float[][] products = Product(input, gateUp.Weight, 0, gateUp.Outputs, gateUp.Bias);
        for (int row = 0; row < output.Rows; row++) Gate(products[row], activation).CopyTo(Row(output, row));
    }

    public void MixtureOfExperts(Tensor output, in LinearInput input, ExpertWeights weights)
    {
        float[][] rows = NormedRows(input);
        float[][] routes = Product(rows, weights.Router.Weight, 0, weights.Experts, weights.Router.Bias);
        int hidden = weights.Down.Columns, model = weights.Down.Rows / weights.Experts;
        for (int row = 0; row < rows.Length; row++)
        {
            foreach ((int expert, float probability) in ChosenExperts(routes[row], weights))
            {
                float[] gated = Gate(Product([rows[row]], weights.GateUp, expert * 2 * hidden, 2 * hidden, bias: null)[0], weights.Activation);
                float[] result = Product([gated], weights.Down, expert * model, model, bias: null)[0];
                Span<float> target = Row(output, row);
                for (int i = 0; i < model; i++) target[i] += probability * result[i];
            }
        }
    }

    public void AddGated(Tensor output, in LinearInput input, LinearWeights gate, Tensor rows, LinearWeights down)
    {
        float[][] gates = Product(input, gate.Weight, 0, gate.Outputs, gate.Bias);
        float[][] products = Product(new LinearInput(rows), down.Weight, 0, down.Outputs, down.Bias);
        for (int row = 0; row < output.Rows; row++)
        {
            float share = (float)(1 / (1 + Math.Exp(-gates[row][0])));
            Span<float> target = Row(output, row);
            for (int i = 0; i < target.Length; i++) target[i] += share * products[row][i];
        }
    }

    public void SelectRows(Tensor output, Tensor input, RaggedBatch batch)
    {
        for (int i = 0; i < batch.LogitRowCount; i++) Row(input, batch.LogitRows[i]).CopyTo(Row(output, i));
    }

    // The likeliest experts by a softmax over all, lower indices first among equals.
    private static (int Expert, float Probability)[] ChosenExperts(float[] logits, ExpertWeights weights)
    {
        float largest = logits.Max();
        double[] exponentials = [.. logits.Select(logit => Math.Exp((double)logit - largest))];
        int[] chosen = [.. Enumerable.Range(0, logits.Length).OrderByDescending(expert => logits[expert]).Take(weights.TopK)];
        double sum = weights.NormalizeTopK ? chosen.Sum(expert => exponentials[expert]) : exponentials.Sum();
        return [.. chosen.Select(expert => (expert, (float)(exponentials[expert] / sum)))];
    }

    // Copies, since an operation may add to the rows that it reads.
    private static float[][] NormedRows(in LinearInput input)
    {
        float[][] rows = new float[input.Rows.Rows][];
        for (int row = 0; row < rows.Length; row++)
        {
            rows[row] = Row(input.Rows, row).ToArray();
            if (input.Norm is { } norm) Normalize(rows[row], rows[row], norm);
        }
        return rows;
    }

    private static float[][] Product(in LinearInput input, Tensor weight, int firstOutput, int outputs, Tensor? bias) => Product(NormedRows(input), weight, firstOutput, outputs, bias);

    private static float[][] Product(float[][] rows, Tensor weight, int firstOutput, int outputs, Tensor? bias)
    {
        float[][] products = [.. rows.Select(_ => new float[outputs])];
        float[] weights = new float[weight.Columns];
        for (int output = 0; output < outputs; output++)
        {
            ReadRow(weight, firstOutput + output, weights);
            double start = bias is { } vector ? Vector(vector)[output] : 0;
            for (int row = 0; row < rows.Length; row++)
            {
                double sum = start;
                for (int i = 0; i < weights.Length; i++) sum += (double)rows[row][i] * weights[i];
                products[row][output] = (float)sum;
            }
        }
        return products;
    }

    private static float[] Gate(float[] gateUp, Activation activation)
    {
        float[] gated = new float[gateUp.Length / 2];
        for (int i = 0; i < gated.Length; i++) gated[i] = Activate(activation, gateUp[i]) * gateUp[gated.Length + i];
        return gated;
    }

    private static float Activate(Activation activation, float x) => activation switch
    {
        Activation.None => x,
        Activation.Relu => Math.Max(x, 0),
        Activation.Gelu => (float)(0.5 * x * ErrorFunction.Complement(-x / Math.Sqrt(2))),
        Activation.GeluTanh => (float)(0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x))))),
        Activation.Silu => (float)(x / (1 + Math.Exp(-x))),
        _ => throw new ArgumentOutOfRangeException(nameof(activation), activation, "Not an activation."),
    };

    private static void Normalize(ReadOnlySpan<float> input, Span<float> output, NormWeights weights)
    {
        double mean = 0, squares = 0;
        if (weights.Kind == NormKind.Layer)
        {
            foreach (float value in input) mean += value;
            mean /= input.Length;
        }
        foreach (float value in input) squares += (value - mean) * (value - mean);
        double scale = 1 / Math.Sqrt((squares / input.Length) + weights.Epsilon);
        Span<float> gamma = Vector(weights.Gamma);
        for (int i = 0; i < input.Length; i++)
        {
            double shift = weights.Beta is { } beta ? Vector(beta)[i] : 0;
            output[i] = (float)(((input[i] - mean) * scale * gamma[i]) + shift);
        }
    }

    private static void Add(Span<float> target, ReadOnlySpan<float> source)
    {
        for (int i = 0; i < target.Length; i++) target[i] += source[i];
    }
}
