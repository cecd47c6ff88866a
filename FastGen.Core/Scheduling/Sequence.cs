using System.Diagnostics;
using FastGen.Compute;

namespace FastGen;

/// <summary>
/// One request's tokens and how far the model has computed them. There are no phases: a prompt, a decode and a recomputation differ
/// only in how many tokens are pending.
/// </summary>
internal sealed class Sequence
{
    private int[] _tokens;

    /// <param name="prompt">Token ids.</param>
    /// <param name="maxTokens">Length at which generation ends, prompt included.</param>
    /// <param name="blockSize">Tokens in a cache block.</param>
    public Sequence(ReadOnlySpan<int> prompt, int maxTokens, int blockSize)
    {
        PromptLength = RotaryLength = TokenCount = prompt.Length;
        MaxTokens = maxTokens;
        int expected = Math.Min(maxTokens, prompt.Length + 4096);
        _tokens = new int[expected];
        prompt.CopyTo(_tokens);
        Blocks = new BlockTable((expected + blockSize - 1) / blockSize);
        Node = new LinkedListNode<Sequence>(this);
    }

    public int PromptLength { get; }

    public int MaxTokens { get; }

    /// <summary>See <see cref="Compute.ModelShape.RecomputeBeyond"/>.</summary>
    public int RecomputeBeyond { get; init; }

    /// <summary>The length that its rotation is chosen by: the prompt's, until it outgrows <see cref="RecomputeBeyond"/>.</summary>
    public int RotaryLength { get; private set; }

    /// <summary>True where what is cached of it was rotated for a shorter text: it has to start over.</summary>
    public bool HasOutgrownRotation => RecomputeBeyond > 0 && RotaryLength <= RecomputeBeyond && TokenCount > RecomputeBeyond;

    public BlockTable Blocks { get; }

    /// <summary>Who hears of the tokens; null where only scheduling is exercised.</summary>
    public GenerationRequest? Request { get; init; }

    public int[] StopTokens { get; init; } = [];

    public SlotSampling Sampling { get; init; }

    public int MinNewTokens { get; init; }

    /// <summary>Whether somebody reads its tokens as they come, so that the time between them matters.</summary>
    public bool IsStreamed { get; init; } = true;

    /// <summary>When its first token is due, on any clock that all sequences share: who waits is admitted in this order, and in order of arrival where it is equal.</summary>
    public long Deadline { get; set; }

    /// <summary>Place in the queue of waiting sequences.</summary>
    public LinkedListNode<Sequence> Node { get; }

    /// <summary>Row of all state that outlives a step; −1 unless running.</summary>
    public int Slot { get; set; } = -1;

    /// <summary>Block-table entries that the backend has been told of.</summary>
    public int SentBlocks { get; set; }

    /// <summary>Whether the backend knows this sequence's sampling parameters in its slot.</summary>
    public bool SamplingSent { get; set; }

    /// <summary>Steps submitted and not collected that hold this sequence.</summary>
    public int StepsInFlight { get; set; }

    /// <summary>No more of its tokens matter: finished, cancelled or failed.</summary>
    public bool IsRetired { get; set; }

    /// <summary>Whether it has lost its place in the cache and had to wait again.</summary>
    public bool HasRestarted { get; private set; }

    /// <summary>Later arrivals admitted ahead of it.</summary>
    public int Bypasses { get; set; }

    /// <summary>Tokens, those still being drawn included.</summary>
    public int TokenCount { get; private set; }

    /// <summary>Tokens at the end whose ids are still being drawn.</summary>
    public int DrawsInFlight { get; private set; }

    /// <summary>Tokens whose keys and values are in the cache, or will be after the steps in flight.</summary>
    public int ComputedTokens { get; private set; }

    /// <summary>Tokens computed by steps that were collected.</summary>
    public int CollectedTokens { get; set; }

    /// <summary>Tokens that the model still has to see; 0 when the length is reached and the last draw is in flight.</summary>
    public int PendingTokens => TokenCount == MaxTokens && DrawsInFlight > 0 ? 0 : TokenCount - ComputedTokens;

    public int NewTokens => TokenCount - PromptLength;

    /// <summary>The next <paramref name="count"/> tokens to compute: ids, or ~slot for one still being drawn.</summary>
    public ReadOnlySpan<int> Pending(int count) => _tokens.AsSpan(ComputedTokens, count);

    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, TokenCount);

    /// <summary>A step started that computes the next <paramref name="tokens"/> tokens and, if it <paramref name="draws"/>, one more.</summary>
    public void Submitted(int tokens, bool draws)
    {
        StepsInFlight++;
        ComputedTokens += tokens;
        Debug.Assert(ComputedTokens <= TokenCount, "Only tokens that exist are computed.");
        if (!draws) return;

        if (TokenCount == _tokens.Length) Array.Resize(ref _tokens, Math.Min(MaxTokens, 2 * TokenCount));
        _tokens[TokenCount++] = ~Slot;
        DrawsInFlight++;
    }

    /// <summary>The oldest draw in flight gave <paramref name="token"/>.</summary>
    public void EndDraw(int token) => _tokens[TokenCount - DrawsInFlight--] = token;

    /// <summary>Forgets cached state: the sequence becomes a longer prompt, loses no token and is the first to run again.</summary>
    public void Restart()
    {
        Debug.Assert(DrawsInFlight == 0 && StepsInFlight == 0, "A restart waits for the step in flight.");
        if (HasOutgrownRotation) RotaryLength = TokenCount;
        ComputedTokens = CollectedTokens = 0;
        Deadline = long.MinValue;
        HasRestarted = true;
        LeaveSlot();
    }

    public void LeaveSlot()
    {
        Slot = -1;
        SentBlocks = 0;
        SamplingSent = false;
    }
}
