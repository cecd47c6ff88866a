using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>
/// Which rows visit which experts. A visit is one row at one expert; visits are sorted by expert, then by row, so that an expert's
/// rows form tiles, and a row's visits come in the same order whatever else the batch holds.
/// </summary>
internal sealed unsafe class ExpertRouting
{
    private int[] _starts = [], _chosen = [], _visitRows = [], _rowVisits = [], _filled = [];
    private float[] _chosenProbabilities = [], _visitProbabilities = [];

    /// <summary>Visits of all rows.</summary>
    public int Visits { get; private set; }

    /// <summary>[experts + 1] Where each expert's visits begin.</summary>
    public int* Starts => Pointer(_starts);

    /// <summary>[visits] The row that visits.</summary>
    public int* VisitRows => Pointer(_visitRows);

    /// <summary>[rows · top k] Each row's visits, by ascending expert.</summary>
    public int* RowVisits => Pointer(_rowVisits);

    /// <summary>[visits] The expert's share in the row's result.</summary>
    public float* VisitProbabilities => (float*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_visitProbabilities));

    /// <summary>Sends each row to the likeliest experts by a softmax over <paramref name="logits"/> [rows, experts], lower ones first among equals.</summary>
    public void Route(Span<float> logits, int rows, ExpertWeights weights)
    {
        int experts = weights.Experts, topK = weights.TopK;
        Resize(rows, experts, topK);
        _starts.AsSpan(0, experts + 1).Clear();
        for (int row = 0; row < rows; row++)
        {
            Choose(logits.Slice(row * experts, experts), weights.NormalizeTopK, _chosen.AsSpan(row * topK, topK), _chosenProbabilities.AsSpan(row * topK, topK));
            foreach (int expert in _chosen.AsSpan(row * topK, topK)) _starts[expert + 1]++;
        }
        for (int expert = 0; expert < experts; expert++) _starts[expert + 1] += _starts[expert];
        SortVisits(rows, experts, topK);
    }

    private void SortVisits(int rows, int experts, int topK)
    {
        _starts.AsSpan(0, experts).CopyTo(_filled);
        for (int row = 0; row < rows; row++)
        {
            Span<int> chosen = _chosen.AsSpan(row * topK, topK);
            chosen.Sort(_chosenProbabilities.AsSpan(row * topK, topK));
            for (int i = 0; i < topK; i++)
            {
                int visit = _filled[chosen[i]]++;
                _visitRows[visit] = row;
                _visitProbabilities[visit] = _chosenProbabilities[(row * topK) + i];
                _rowVisits[(row * topK) + i] = visit;
            }
        }
    }

    // Overwrites the logits with exponentials, and those chosen with a mark below all others.
    private static void Choose(Span<float> logits, bool normalize, Span<int> chosen, Span<float> probabilities)
    {
        float largest = float.NegativeInfinity, sum = 0, chosenSum = 0;
        foreach (float logit in logits) largest = MathF.Max(largest, logit);
        for (int i = 0; i < logits.Length; i++)
        {
            logits[i] = MathF.Exp(logits[i] - largest);
            sum += logits[i];
        }
        for (int rank = 0; rank < chosen.Length; rank++)
        {
            int best = 0;
            for (int i = 1; i < logits.Length; i++)
            {
                if (logits[i] > logits[best]) best = i;
            }
            (chosen[rank], probabilities[rank]) = (best, logits[best]);
            chosenSum += logits[best];
            logits[best] = -1;
        }
        foreach (ref float probability in probabilities) probability /= normalize ? chosenSum : sum;
    }

    private void Resize(int rows, int experts, int topK)
    {
        Visits = rows * topK;
        if (_starts.Length <= experts)
        {
            _starts = GC.AllocateArray<int>(experts + 1, pinned: true);
            _filled = new int[experts];
        }
        if (_visitRows.Length >= Visits) return;
        _chosen = new int[Visits];
        _chosenProbabilities = new float[Visits];
        _visitRows = GC.AllocateArray<int>(Visits, pinned: true);
        _rowVisits = GC.AllocateArray<int>(Visits, pinned: true);
        _visitProbabilities = GC.AllocateArray<float>(Visits, pinned: true);
    }

    private static int* Pointer(int[] pinned) => (int*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(pinned));
}
