using FastGen.Kernels.Cpu;

namespace FastGen.Tests.Kernels;

public sealed unsafe class WorkerPoolTests
{
    private readonly struct Mark(int* counts) : IParallelWork
    {
        private readonly int* _counts = counts;

        public void Run(int worker, int workers) => Interlocked.Increment(ref _counts[worker]);
    }

    private readonly struct Fail(int failing) : IParallelWork
    {
        private readonly int _failing = failing;

        public void Run(int worker, int workers)
        {
            if (worker == _failing) throw new InvalidDataException($"worker {worker} of {workers}");
        }
    }

    [Test]
    public void Run_ManyTimes_RunsEveryShareOnce([Values(1, 2, 3, 8)] int workers)
    {
        const int Times = 2000;
        using WorkerPool pool = new(workers);
        int* counts = stackalloc int[8];
        for (int i = 0; i < Times; i++) pool.Run(new Mark(counts));
        Assert.That(new Span<int>(counts, 8).ToArray(), Is.EqualTo(Enumerable.Range(0, 8).Select(worker => worker < workers ? Times : 0)));
    }

    [Test]
    public void Run_AfterAllSleep_WakesThem()
    {
        using WorkerPool pool = new(3);
        int* counts = stackalloc int[3];
        for (int i = 0; i < 5; i++)
        {
            Thread.Sleep(20);
            pool.Run(new Mark(counts));
        }
        Assert.That(new Span<int>(counts, 3).ToArray(), Is.All.EqualTo(5));
    }

    [Test]
    public void Run_ShareThrows_CallerGetsItAndThePoolSurvives([Values(0, 1, 2)] int failing)
    {
        using WorkerPool pool = new(3);
        int* counts = stackalloc int[3];
        for (int i = 0; i < 3; i++)
        {
            Assert.That(() => pool.Run(new Fail(failing)), Throws.InstanceOf<InvalidDataException>().With.Message.EqualTo($"worker {failing} of 3"));
            pool.Run(new Mark(counts));
        }
        Assert.That(new Span<int>(counts, 3).ToArray(), Is.All.EqualTo(3));
    }

    [Test]
    public void Run_AfterDispose_Throws([Values(1, 3)] int workers)
    {
        WorkerPool pool = new(workers);
        pool.Dispose();
        pool.Dispose();
        int* counts = stackalloc int[3];
        Mark work = new(counts);
        Assert.That(() => pool.Run(work), Throws.InstanceOf<ObjectDisposedException>());
    }

    [Test]
    public void Run_TwoPoolsAtOnce_FinishOnTooFewProcessors()
    {
        const int Times = 300;
        int workers = 2 * Environment.ProcessorCount;
        void RunMany(int* counts)
        {
            using WorkerPool pool = new(workers);
            for (int i = 0; i < Times; i++) pool.Run(new Mark(counts));
        }
        int* first = stackalloc int[workers], second = stackalloc int[workers];
        (nint firstCounts, nint secondCounts) = ((nint)first, (nint)second);
        Thread other = new(() => RunMany((int*)secondCounts));
        other.Start();
        RunMany((int*)firstCounts);
        other.Join();
        Assert.That(new Span<int>(first, workers).ToArray().Concat(new Span<int>(second, workers).ToArray()), Is.All.EqualTo(Times));
    }

    [Test]
    public void Idle_Workers_TakeNoProcessorTime()
    {
        using WorkerPool pool = new(4);
        int* counts = stackalloc int[4];
        pool.Run(new Mark(counts));
        Thread.Sleep(50);
        TimeSpan before = Environment.CpuUsage.TotalTime;
        Thread.Sleep(200);
        Assert.That(Environment.CpuUsage.TotalTime - before, Is.LessThan(TimeSpan.FromMilliseconds(150)));
    }

    [Test]
    public void Run_DoesNotAllocate()
    {
        using WorkerPool pool = new(2);
        int* counts = stackalloc int[2];
        pool.Run(new Mark(counts));
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++) pool.Run(new Mark(counts));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }
}
