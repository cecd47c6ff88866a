using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cuda.Steps;

/// <summary>What is done to queries and keys on their way in, as kernels see it: struct HeadArguments of heads.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct HeadArguments(AttentionWeights attention)
{
    private readonly nint _rotary = attention.Rotary?.Data ?? 0;
    private readonly nint _queryGamma = attention.QueryNorm?.Gamma.Data ?? 0, _queryBeta = attention.QueryNorm?.Beta?.Data ?? 0;
    private readonly nint _keyGamma = attention.KeyNorm?.Gamma.Data ?? 0, _keyBeta = attention.KeyNorm?.Beta?.Data ?? 0;
    private readonly nint _queryScales = attention.QueryScales?.Data ?? 0;
    private readonly float _queryEpsilon = attention.QueryNorm?.Epsilon ?? 0, _keyEpsilon = attention.KeyNorm?.Epsilon ?? 0;
    private readonly int _heads = attention.Heads, _kvHeads = attention.KvHeads, _rotaryColumns = attention.Rotary?.Columns ?? 0;
    private readonly int _queryNorm = KindOf(attention.QueryNorm), _keyNorm = KindOf(attention.KeyNorm);

    private static int KindOf(NormWeights? norm) => norm is null ? 0 : norm.Kind == NormKind.Rms ? 1 : 2;
}
