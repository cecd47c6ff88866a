using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace FastGen.Kernels.Cpu;

/// <summary>
/// A fixed set of threads that run one piece of work at a time, the calling thread among them. Those who wait spin for as long as the
/// gaps between the operations of a step last, then sleep. Running allocates nothing.
/// </summary>
internal sealed unsafe class WorkerPool : IDisposable
{
    private const int SpinsBetweenLooks = 16;
    private static readonly long SpinTicks = Stopwatch.Frequency / 20_000;

    private readonly Sleeper[] _sleepers;
    private readonly Thread?[] _threads;
    private readonly AutoResetEvent _finished = new(false);
    private delegate*<void*, int, int, void> _run;
    private void* _work;
    private Exception? _failure;
    private int _generation, _unfinished, _callerSleeps;
    private bool _stopping;

    /// <summary>Starts <paramref name="workers"/> − 1 threads.</summary>
    public WorkerPool(int workers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(workers, 1);
        _sleepers = new Sleeper[workers - 1];
        _threads = new Thread[workers - 1];
        for (int i = 0; i < _threads.Length; i++) _sleepers[i] = new Sleeper();
        try
        {
            for (int i = 0; i < _threads.Length; i++)
            {
                int worker = i + 1;
                Thread thread = new(() => Serve(worker)) { IsBackground = true, Name = $"FastGen CPU worker {worker}" };
                thread.Start();
                _threads[i] = thread;
            }
        }
        catch
        {
            // The system gives no more threads: those that run must not stay.
            Dispose();
            throw;
        }
    }

    /// <summary>Threads that take part, the caller included.</summary>
    public int Workers => _threads.Length + 1;

    /// <summary>
    /// Runs every worker's share and waits for all. The first exception of a share is thrown here; the pool stays usable. One thread at a time may
    /// call, and no share may.
    /// </summary>
    public void Run<TWork>(TWork work)
        where TWork : unmanaged, IParallelWork
    {
        ObjectDisposedException.ThrowIf(_stopping, this);
        if (_threads.Length == 0)
        {
            work.Run(0, 1);
            return;
        }
        Start(&work, &RunShare<TWork>);
        try
        {
            work.Run(0, Workers);
        }
        catch (Exception exception)
        {
            Interlocked.CompareExchange(ref _failure, exception, null);
        }
        AwaitOthers();
        if (Interlocked.Exchange(ref _failure, null) is { } failure) ExceptionDispatchInfo.Throw(failure);
    }

    /// <summary>Ends the threads and waits for them.</summary>
    public void Dispose()
    {
        if (_stopping) return;
        _stopping = true;
        Start(null, null);
        foreach (Thread? thread in _threads) thread?.Join();
        foreach (Sleeper sleeper in _sleepers) sleeper.Dispose();
        _finished.Dispose();
    }

    private static void RunShare<TWork>(void* work, int worker, int workers)
        where TWork : unmanaged, IParallelWork => ((TWork*)work)->Run(worker, workers);

    private void Start(void* work, delegate*<void*, int, int, void> run)
    {
        Debug.Assert(_unfinished == 0, "One piece of work runs at a time.");
        _work = work;
        _run = run;
        _unfinished = _threads.Length;
        // A full fence: whoever sees the new generation sees the work, and whoever fell asleep before is seen below.
        Interlocked.Increment(ref _generation);
        foreach (Sleeper sleeper in _sleepers)
        {
            if (Volatile.Read(ref sleeper.Sleeps) != 0) sleeper.Wake.Set();
        }
    }

    private void AwaitOthers()
    {
        long until = Stopwatch.GetTimestamp() + SpinTicks;
        while (Volatile.Read(ref _unfinished) != 0)
        {
            if (Stopwatch.GetTimestamp() < until)
            {
                Thread.SpinWait(SpinsBetweenLooks);
                continue;
            }
            Interlocked.Exchange(ref _callerSleeps, 1);
            while (Volatile.Read(ref _unfinished) != 0) _finished.WaitOne();
            Volatile.Write(ref _callerSleeps, 0);
        }
    }

    private void Serve(int worker)
    {
        Sleeper sleeper = _sleepers[worker - 1];
        int served = 0;
        while (true)
        {
            AwaitGenerationAfter(served++, sleeper);
            if (_stopping) return;
            try
            {
                _run(_work, worker, Workers);
            }
            catch (Exception exception)
            {
                Interlocked.CompareExchange(ref _failure, exception, null);
            }
            if (Interlocked.Decrement(ref _unfinished) == 0 && Volatile.Read(ref _callerSleeps) != 0) _finished.Set();
        }
    }

    private void AwaitGenerationAfter(int served, Sleeper sleeper)
    {
        long until = Stopwatch.GetTimestamp() + SpinTicks;
        while (Volatile.Read(ref _generation) == served)
        {
            if (Stopwatch.GetTimestamp() < until)
            {
                Thread.SpinWait(SpinsBetweenLooks);
                continue;
            }
            Interlocked.Exchange(ref sleeper.Sleeps, 1);
            while (Volatile.Read(ref _generation) == served) sleeper.Wake.WaitOne();
            Volatile.Write(ref sleeper.Sleeps, 0);
        }
    }

    private sealed class Sleeper : IDisposable
    {
        public readonly AutoResetEvent Wake = new(false);
        public int Sleeps;

        public void Dispose() => Wake.Dispose();
    }
}
