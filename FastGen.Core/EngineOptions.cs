namespace FastGen;

/// <summary>Sizes of an engine. What is null is chosen at load.</summary>
public sealed record EngineOptions
{
    // Blocks in the second and third dimension of a CUDA grid.
    private const int MostSequences = 65_535;

    /// <summary>Longest sequence in tokens, prompt and output together, from 2 to what the model was made for; null takes that.</summary>
    public int? MaxContext { get; init; }

    /// <summary>
    /// Tokens in one step, decode tokens and prompt chunks together; null measures the device at load (see <see cref="TokenBudgetCalibration"/>) and takes fewer while
    /// tokens are read as they come, or follows <see cref="SchedulerOptions.TargetTimeBetweenTokens"/>.
    /// </summary>
    public int? TokenBudget { get; init; }

    /// <summary>Sequences that run at once; more wait. Default 64.</summary>
    public int MaxSequences { get; init; } = 64;

    /// <summary>Tokens that the key/value cache holds, rounded up to whole blocks; null follows <see cref="CacheBytes"/>. One of the two may be set.</summary>
    public int? CacheTokens { get; init; }

    /// <summary>
    /// Bytes that the key/value cache takes, where <see cref="CacheTokens"/> does not say; null asks the backend, and takes no more than the sequences can use. On CUDA that is what is free
    /// on the device once the largest steps have run, less a 32nd of the device (1 GiB at least) and what penalties and log probabilities may take: set it where another program or a
    /// second pipeline is to have room beside. On the CPU it is a quarter of the memory.
    /// </summary>
    public long? CacheBytes { get; init; }

    /// <summary>Tokens in a cache block. Default 16.</summary>
    public int BlockSize { get; init; } = 16;

    /// <summary>Share of the cache that newcomers leave free for those who run, so that these need not restart. Default 0.01.</summary>
    public double Watermark { get; init; } = 0.01;

    /// <summary>How steps are divided among requests.</summary>
    public SchedulerOptions Scheduler { get; init; } = new();

    /// <summary>Throws when a value is out of range.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Names the option, its value and its range.</exception>
    /// <exception cref="ArgumentException">Two options contradict each other.</exception>
    public void Validate()
    {
        Require(MaxContext is null or > 1, nameof(MaxContext), MaxContext, "2 or more (a token of the prompt and a new one), or null");
        Require(TokenBudget is null or (> 0 and <= 1 << 20), nameof(TokenBudget), TokenBudget, $"from 1 to {1 << 20}, or null");
        Require(MaxSequences is > 0 and <= MostSequences, nameof(MaxSequences), MaxSequences, $"from 1 to {MostSequences}");
        Require(CacheTokens is null or > 0, nameof(CacheTokens), CacheTokens, "1 or more, or null");
        Require(CacheBytes is null or > 0, nameof(CacheBytes), CacheBytes, "1 or more, or null");
        if (CacheTokens is not null && CacheBytes is not null)
        {
            throw new ArgumentException($"{nameof(CacheTokens)} is {CacheTokens} and {nameof(CacheBytes)} is {CacheBytes}: both give the cache's size. Set one of them to null.");
        }
        Require(BlockSize is > 0 and <= 1024, nameof(BlockSize), BlockSize, "from 1 to 1024");
        Require(Watermark is >= 0 and < 1, nameof(Watermark), Watermark, "at least 0 and below 1");
        ArgumentNullException.ThrowIfNull(Scheduler);
        TimeSpan? target = Scheduler.TargetTimeBetweenTokens;
        Require(target is null || (target > TimeSpan.Zero && target <= TimeSpan.FromMinutes(1)), nameof(SchedulerOptions.TargetTimeBetweenTokens), target, "above 0 and at most a minute, or null");
        string? bound = TokenBudget is not null ? nameof(TokenBudget) : target is not null ? nameof(SchedulerOptions.TargetTimeBetweenTokens) : null;
        if (bound is not null && !Scheduler.SplitFuse)
        {
            throw new ArgumentException($"{nameof(SchedulerOptions.SplitFuse)} is false, so prompts run whole, but {bound} bounds a step. Set {bound} to null or {nameof(SchedulerOptions.SplitFuse)} to true.");
        }
    }

    private static void Require(bool valid, string name, object? value, string range)
    {
        if (!valid) throw new ArgumentOutOfRangeException(name, value, $"{name} must be {range}.");
    }
}
