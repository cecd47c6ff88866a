using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cpu;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>
/// Near ties between experts. Where, in F32 arithmetic, the router's logits of the last expert chosen and of the first left out lie closer together than a few units in the
/// last place of a 16-bit type, arithmetic of that type may take either; the logits of the model then differ by far more than rounding makes them.
/// </summary>
/// <param name="type">The 16-bit type.</param>
internal sealed class RouterTies(DType type)
{
    // What rounding in the layers before adds up to, in units of the router's largest logit.
    private const float Units = 4;

    private const int MostTurned = 3;

    private readonly List<Tie> _found = [];
    private readonly List<Tie> _turned = [];
    private bool _finds = true;
    private int _calls;

    private readonly record struct Tie(int Call, int Row, int Chosen, float Gap);

    /// <summary>The logits of a case in F32 arithmetic with one tie turned the other way, for each tie; none where there is none.</summary>
    public static IEnumerable<float[]> OtherLogits(ModelConfig config, string folder, DType type, GoldenCase golden)
    {
        RouterTies ties = new(type);
        using ModelHarness harness = ties.Harness(config, folder, golden);
        foreach (Tie tie in ties._found) yield return ties.Turned(harness, golden, [tie]);
    }

    /// <summary>
    /// How far logits are from F32 arithmetic that takes other choices at near ties: turned one after the other, each time the one that brings it closest. Infinite
    /// where there is no tie.
    /// </summary>
    public static double LeastError(ModelConfig config, string folder, DType type, GoldenCase golden, float[] actual, Func<float[], float[], double> error)
    {
        RouterTies ties = new(type);
        using ModelHarness harness = ties.Harness(config, folder, golden);
        List<Tie> turned = [];
        double least = double.PositiveInfinity;
        for (int round = 0; round < MostTurned && ties._found.Count > turned.Count; round++)
        {
            (double closest, Tie tie) = ties._found.Except(turned).Select(tie => (error(actual, ties.Turned(harness, golden, [.. turned, tie])), tie)).MinBy(pair => pair.Item1);
            if (closest >= least) break;
            least = closest;
            turned.Add(tie);
        }
        return least;
    }

    private ModelHarness Harness(ModelConfig config, string folder, GoldenCase golden)
    {
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder);
        ModelHarness harness = new(ModelLoader.Load(config, checkpoint, new ObservedBackend(CpuBackend.Create(threads: 2)) { Mixing = Mix }, new ModelLoadOptions()));
        harness.Prompt(golden.Prompt, 1);
        _finds = false;
        return harness;
    }

    private float[] Turned(ModelHarness harness, GoldenCase golden, IEnumerable<Tie> ties)
    {
        _turned.Clear();
        _turned.AddRange(ties);
        _calls = 0;
        return [.. harness.Prompt(golden.Prompt, golden.Logits.Length).SelectMany(row => row)];
    }

    // Looks for ties; computes the layers in which some are to be turned.
    private bool Mix(IBackend backend, Tensor output, LinearInput input, ExpertWeights weights)
    {
        int call = _calls++;
        if (_finds) Find(backend, input, weights, call);
        if (!_turned.Exists(tie => tie.Call == call)) return false;
        for (int row = 0; row < output.Rows; row++)
        {
            int at = _turned.FindIndex(tie => tie.Call == call && tie.Row == row);
            backend.MixtureOfExperts(Row(output, row), input with { Rows = Row(input.Rows, row) }, at < 0 ? weights : WithTurned(backend, weights, _turned[at]));
        }
        return true;
    }

    private static ExpertWeights WithTurned(IBackend backend, ExpertWeights weights, Tie tie)
    {
        float[] bias = new float[weights.Experts];
        if (weights.Router.Bias is { } stored) backend.Download(stored, bias);
        bias[tie.Chosen] -= 2 * tie.Gap;
        Tensor turning = backend.Allocate(DType.F32, 1, weights.Experts);
        backend.Upload(MemoryMarshal.AsBytes<float>(bias), DType.F32, turning);
        return weights with { Router = weights.Router with { Bias = turning } };
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
            if (gap < Units * UnitInTheLastPlace(own.Max(MathF.Abs))) _found.Add(new Tie(call, row, last, gap));
        }
    }

    private float UnitInTheLastPlace(float value) => MathF.ScaleB(1, Math.Max(Math.ILogB(value), -14) - (type == DType.F16 ? 10 : 7));

    private static Tensor Row(Tensor tensor, int row) => tensor with { Data = tensor.Data + (nint)((long)row * tensor.Columns * tensor.Type.Size()), Rows = 1 };
}
