using System.Globalization;
using FastGen.Compute;

namespace FastGen.Kernels.Cuda.Compilation;

/// <summary>What a kernel is compiled for. Sources see each as a macro; those that a source does not use are left at their defaults.</summary>
internal readonly record struct KernelConstants
{
    public DType In { get; init; }

    public DType Weight { get; init; }

    public DType Out { get; init; }

    /// <summary>0 none, 1 RMS, 2 layer norm.</summary>
    public int Norm { get; init; }

    public Activation Activation { get; init; }

    public bool Gated { get; init; }

    public bool Accumulate { get; init; }

    /// <summary>Products grouped by expert.</summary>
    public bool Grouped { get; init; }

    /// <summary>A second product in the same kernel.</summary>
    public SecondKind Second { get; init; }

    /// <summary>Attention that also prepares and stores its queries, keys and values.</summary>
    public bool Fused { get; init; }

    public int HeadDim { get; init; }

    /// <summary>Query heads that share a key/value head.</summary>
    public int Group { get; init; }

    /// <summary>Tokens in one page of the cache's inner layout.</summary>
    public int Page { get; init; }

    /// <summary>Columns of a product's input.</summary>
    public int Columns { get; init; }

    /// <summary>Rows of a product.</summary>
    public int Rows { get; init; }

    /// <summary>Tile and warp counts, as the source defines them.</summary>
    public (int A, int B, int C, int D) Shape { get; init; }

    /// <summary>Options for the compiler's command line.</summary>
    public IReadOnlyList<string> Defines() =>
    [
        $"T_IN={Name(In)}", $"T_WEIGHT={Name(Weight)}", $"T_OUT={Name(Out)}",
        Number("NORM", Norm), Number("ACTIVATION", (int)Activation), Number("GATED", Gated ? 1 : 0), Number("ACCUMULATE", Accumulate ? 1 : 0), Number("GROUPED", Grouped ? 1 : 0), Number("SECOND", (int)Second),
        Number("FUSED", Fused ? 1 : 0), Number("HEAD_DIM", HeadDim), Number("GROUP", Group), Number("PAGE", Page), Number("COLUMNS", Columns), Number("ROWS", Rows),
        Number("SHAPE_A", Shape.A), Number("SHAPE_B", Shape.B), Number("SHAPE_C", Shape.C), Number("SHAPE_D", Shape.D),
    ];

    private static string Name(DType type) => type switch
    {
        DType.F32 => "float",
        DType.F16 => "f16",
        DType.BF16 => "bf16",
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not a storage type."),
    };

    private static string Number(string name, int value) => string.Create(CultureInfo.InvariantCulture, $"{name}={value}");
}
