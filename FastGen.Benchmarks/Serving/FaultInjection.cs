using FastGen.Tests;

namespace FastGen.Benchmarks.Serving;

/// <summary>Thrown into a step by <see cref="FaultInjection"/>.</summary>
internal sealed class InjectedFaultException(string message) : Exception(message);

/// <summary>Breaks a share of the steps of a backend, half of them before they start and half after they ran.</summary>
internal sealed class FaultInjection
{
    private readonly Random _random;
    private readonly double _share;

    public FaultInjection(ObservedBackend backend, double share, int seed)
    {
        _random = new Random(seed);
        _share = share / 2;
        backend.Submitting = _ => MayThrow("submitted");
        backend.Collected = () => MayThrow("collected");
    }

    public bool IsOn { get; set; }

    public int Thrown { get; set; }

    private void MayThrow(string when)
    {
        if (!IsOn || _random.NextDouble() >= _share) return;
        Thrown++;
        throw new InjectedFaultException($"Injected as the step was {when}.");
    }
}
