using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cpu;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>
/// Near ties between experts. Where, in F32 arithmetic, the router's logits of the last expert chosen and of the first left out lie less than a unit in the last place of
/// a 16-bit type apart, arithmetic of that type cannot tell them apart and may take either; the logits of the model then differ by far more than rounding makes them.
/// </summary>
/// <param name="type">The 16-bit type.</param>
internal sealed class RouterTies(DType type)
{
    private readonly List<Tie> _found = [];
    private Tie? _turned;
    private int _calls;

    private readonly record struct Tie(int Call, int Row, int Chosen, float Gap);

    /// <summary>The logits of a case in F32 arithmetic with one tie turned the other way, for each tie; none where there is none.</summary>
    public static IEnumerable<float[]> OtherLogits(ModelConfig config, string folder, DType type, GoldenCase golden)
    {
        RouterTies ties = new(type);
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder);
        using ModelHarness harness = new(ModelLoader.Load(config, checkpoint, new ObservedBackend(CpuBackend.Create(threads: 2)) { Mixing = ties.Mix }, new ModelLoadOptions()));
        harness.Prompt(golden.Prompt, 1);
        Tie[] found = [.. ties._found];
        foreach (Tie tie in found)
        {
            (ties._turned, ties._calls) = (tie, 0);
            yield return [.. harness.Prompt(golden.Prompt, golden.Logits.Length).SelectMany(row => row)];
        }
    }

    // Looks for ties; computes the layer in which one is to be turned.
    private bool Mix(IBackend backend, Tensor output, LinearInput input, ExpertWeights weights)
    {
        int call = _calls++;
        if (_turned is not { } tie)
        {
            Find(backend, input, weights, call);
            return false;
        }
        if (tie.Call != call) return false;
        float[] bias = new float[weights.Experts];
        if (weights.Router.Bias is { } stored) backend.Download(stored, bias);
        bias[tie.Chosen] -= 2 * tie.Gap;
        Tensor turning = backend.Allocate(DType.F32, 1, weights.Experts);
        backend.Upload(MemoryMarshal.AsBytes<float>(bias), DType.F32, turning);
        ExpertWeights turned = weights with { Router = weights.Router with { Bias = turning } };
        for (int row = 0; row < output.Rows; row++) backend.MixtureOfExperts(Row(output, row), input with { Rows = Row(input.Rows, row) }, row == tie.Row ? turned : weights);
        return true;
    }

    private void Find(IBackend backend, LinearInput input, ExpertWeights weights, int call)
    {
        float[] logits = new float[input.Rows.Rows * weights.Experts];
        Tensor routes = backend.Allocate(DType.F32, input.Rows.Rows, weights.Experts);
        backend.Linear(routes, input, weights.Router);
        backend.Download(routes, logits);
        for (int row = 0; row < input.Rows.Rows; row++)
        {
            float[] own = logits[(row * weights.Experts)..((row + 1) * weights.Experts)];
            int[] order = [.. Enumerable.Range(0, own.Length).OrderByDescending(expert => own[expert])];
            (int last, int next) = (order[weights.TopK - 1], order[weights.TopK]);
            float gap = own[last] - own[next];
            if (gap < UnitInTheLastPlace(own[last])) _found.Add(new Tie(call, row, last, gap));
        }
    }

    private float UnitInTheLastPlace(float value) => MathF.ScaleB(1, Math.Max(Math.ILogB(value), -14) - (type == DType.F16 ? 10 : 7));

    private static Tensor Row(Tensor tensor, int row) => tensor with { Data = tensor.Data + (nint)((long)row * tensor.Columns * tensor.Type.Size()), Rows = 1 };
}
