using System.Collections.Concurrent;
using System.Text;

namespace FastGen;

/// <summary>One request on its way from token ids to text. Runs on the caller's threads, never on the engine's.</summary>
internal sealed class Generation(GenerationRequest request, StreamingDecoder? decoder, bool hasStopStrings, bool hasLogProbabilities)
{
    private const int BufferLength = 64;

    private readonly List<int> _ids = [];
    private readonly StringBuilder _text = new();
    private readonly int[] _buffer = new int[BufferLength];
    private readonly List<TokenLogProbabilities> _logProbabilities = [];
    private TokenLogProbabilities[]? _logProbabilityBuffer;
    private int _logProbabilitiesGiven;
    private bool _stopped;
    private Action? _wake;

    /// <summary>The whole result, once there is one.</summary>
    public GenerationResult? Result { get; private set; }

    public void Cancel() => request.Cancel();

    /// <summary>The whole results of all; blocks the calling thread. Each is read as its tokens come: a stop string ends it, whoever else still runs.</summary>
    public static GenerationResult[] Run(IReadOnlyList<Generation> generations)
    {
        // Never disposed: after a failure the engine still wakes those that are cancelled then.
        BlockingCollection<Generation> woken = [];
        foreach (Generation generation in generations) generation.Wait(woken);
        for (int running = generations.Count; running > 0;)
        {
            Generation generation = woken.Take();
            generation.Read();
            if (generation.Result is null) generation.Wait(woken);
            else running--;
        }
        return [.. generations.Select(generation => generation.Result!)];
    }

    public async Task<GenerationResult> RunAsync()
    {
        while (Result is null)
        {
            await request.WaitAsync(KnownBeforeEnd).ConfigureAwait(false);
            Read();
        }
        return Result;
    }

    /// <summary>The next piece of text; null after the last, which carries the result.</summary>
    public async ValueTask<GenerationPiece?> ReadAsync()
    {
        while (Result is null)
        {
            await request.WaitAsync(_ids.Count).ConfigureAwait(false);
            if (Read() is { } piece) return piece;
        }
        return null;
    }

    private void Wait(BlockingCollection<Generation> woken) => request.Wait(KnownBeforeEnd, _wake ??= () => woken.Add(this));

    // Only a stop string makes it needful to look at tokens before the last.
    private int KnownBeforeEnd => hasStopStrings ? _ids.Count : int.MaxValue;

    // Takes tokens that have come; null where they complete no text yet.
    private GenerationPiece? Read()
    {
        bool ended = request.HasEnded;
        int count = request.CopyTokens(_ids.Count, _buffer);
        int start = _text.Length, known = _ids.Count;
        for (int i = 0; i < count && !_stopped; i++) Append(_buffer[i]);
        if (hasLogProbabilities) ReadLogProbabilities(known, _ids.Count - known);
        if (_stopped) return Finish(start, FinishReason.Stop);
        if (ended && count == 0)
        {
            request.ThrowIfFailed();
            if (decoder is not null) _text.Append(decoder.Flush());
            return Finish(start, decoder?.StopString is null ? request.FinishReason : FinishReason.Stop);
        }
        return _text.Length > start ? Piece(start, null) : null;
    }

    private void ReadLogProbabilities(int first, int count)
    {
        TokenLogProbabilities[] buffer = _logProbabilityBuffer ??= new TokenLogProbabilities[BufferLength];
        _logProbabilities.AddRange(buffer.AsSpan(0, request.CopyLogProbabilities(first, buffer.AsSpan(0, count))));
    }

    private GenerationPiece Piece(int start, GenerationResult? result)
    {
        int given = _logProbabilitiesGiven;
        _logProbabilitiesGiven = _logProbabilities.Count;
        return new GenerationPiece(_text.ToString(start, _text.Length - start), result) { LogProbabilities = hasLogProbabilities ? [.. _logProbabilities[given..]] : [] };
    }

    private void Append(int id)
    {
        _ids.Add(id);
        if (decoder is not null) _text.Append(decoder.Append(id, out _stopped));
    }

    private GenerationPiece Finish(int start, FinishReason reason)
    {
        request.Cancel();
        Result = new GenerationResult
        {
            Text = _text.ToString(),
            TokenIds = [.. _ids],
            LogProbabilities = hasLogProbabilities ? [.. _logProbabilities] : [],
            FinishReason = reason,
            PromptTokens = request.PromptTokens,
            Timings = request.Timings,
        };
        return Piece(start, Result);
    }
}
