using System.Collections.Concurrent;
using FastGen.Compute;
using FastGen.Kernels;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Tests;

public sealed class KernelLibraryTests
{
    private static readonly KernelCode[] Codes = [.. Enumerable.Range(1, 40).Select(columns => new KernelCode("gemv", new KernelConstants { Columns = columns }))];

    [Test]
    public void Compile_TheSameTwiceAndAgain_CompilesEachOnce()
    {
        CountingCompiler compiler = new();
        using ImaginedDevice device = ImaginedDevice.Of("H200");
        using KernelLibrary library = device.Kernels(compiler: compiler);

        library.Compile([.. Codes, .. Codes]);
        library.Compile(Codes.Reverse());

        Assert.That(compiler.Times, Has.Count.EqualTo(Codes.Length));
        Assert.That(compiler.Times.Values, Has.All.EqualTo(1));
    }

    [Test]
    public void Compile_SeveralProcessors_AllAreUsed()
    {
        CountingCompiler compiler = new() { Duration = TimeSpan.FromMilliseconds(10) };
        using ImaginedDevice device = ImaginedDevice.Of("H200");
        using KernelLibrary library = device.Kernels(compiler: compiler);

        library.Compile(Codes);

        Assert.That(compiler.MostAtOnce, Is.InRange(Math.Min(2, Environment.ProcessorCount), Environment.ProcessorCount));
    }

    [Test]
    public void Compile_OneDoesNotCompile_TheOthersDoAndItsFirstUseSaysWhy()
    {
        CountingCompiler compiler = new() { Broken = Codes[7] };
        using ImaginedDevice device = ImaginedDevice.Of("H200");
        using KernelLibrary library = device.Kernels(compiler: compiler);

        library.Compile(Codes);

        Assert.That(compiler.Times, Has.Count.EqualTo(Codes.Length));
        Assert.That(() => library.ModuleOf(Codes[7]), Throws.TypeOf<CudaException>().With.Message.EqualTo("broken 2"));
        Assert.That(() => library.ModuleOf(Codes[7]), Throws.TypeOf<CudaException>().With.Message.EqualTo("broken 3"));
    }

    [Test]
    public void Rehearse_FailsHalfway_IsOverAllTheSame()
    {
        using ImaginedDevice device = ImaginedDevice.Of("H200");
        using KernelLibrary library = device.Kernels();

        Assert.That(() => device.Rehearse(() => throw new InvalidOperationException("injected")), Throws.InvalidOperationException);

        Assert.That(device.Rehearsal, Is.Null);
        Assert.That(device.Rehearse(() => library.Get("rows", "convert", default).Launch(0, (3, 2, 1), threads: 64, sharedBytes: 5)),
            Is.EqualTo((KernelLaunch[])[new KernelLaunch(new KernelCode("rows", default), "convert", (3, 2, 1), 64, 5, 1, false)]));
    }

    // Through the checks, so that what is rehearsed is what steps may do.
    [Test]
    public void CompileSteps_ModelOfAllOperations_CompilesEveryKernelOnceAndLaunchesNone([Values("Llama-3-8B", "Mixtral-8x7B", "Phi-2", "OPT-6.7B")] string model, [Values("H200", "RTX 3090")] string kind)
    {
        CountingCompiler compiler = new() { UsesHopperInstructions = kind == "H200" };
        CudaBackend cuda = ImaginedDevice.Of(kind).Backend(compiler: compiler);
        using CheckedBackend backend = new(new ObservedBackend(cuda) { Uploading = (_, _, _) => true });
        (RaggedBatch batch, Action<int, int> forward) = ImaginedModel.Load(backend, CudaLaunchTests.Config(model), DType.BF16);

        backend.CompileSteps(batch, forward);
        backend.CompileSteps(batch, forward);

        Assert.That(compiler.Times.Keys.Select(code => code.Source), Does.Contain("step").And.Contain("sample").And.Contain("gemv").And.Contain("attention_split"));
        Assert.That(compiler.Times.Values, Has.All.EqualTo(1));
        Assert.That(cuda.KernelResources, Is.Empty);
    }

    [Test]
    public void CompileSteps_Cancelled_EndsWithoutTheRest()
    {
        using CancellationTokenSource cancellation = new();
        CountingCompiler compiler = new() { UsesHopperInstructions = true, Compiling = cancellation.Cancel };
        CudaBackend cuda = ImaginedDevice.Of("H200").Backend(compiler: compiler);
        using CheckedBackend backend = new(new ObservedBackend(cuda) { Uploading = (_, _, _) => true });
        (RaggedBatch batch, Action<int, int> forward) = ImaginedModel.Load(backend, CudaLaunchTests.Config("Llama-3-8B"), DType.BF16);

        Assert.That(() => backend.CompileSteps(batch, forward, cancellation.Token), Throws.InstanceOf<OperationCanceledException>());

        Assert.That(compiler.Times, Has.Count.InRange(1, Environment.ProcessorCount));
    }

    private sealed class CountingCompiler : IKernelCompiler
    {
        private int _now, _most;

        public ConcurrentDictionary<KernelCode, int> Times { get; } = [];

        public KernelCode Broken { get; init; }

        public TimeSpan Duration { get; init; }

        public Action? Compiling { get; init; }

        public int MostAtOnce => _most;

        public bool UsesHopperInstructions { get; init; } = true;

        public byte[] Compile(KernelCode code)
        {
            int now = Interlocked.Increment(ref _now), times = Times.AddOrUpdate(code, 1, (_, before) => before + 1);
            for (int most = _most; now > most && Interlocked.CompareExchange(ref _most, now, most) != most; most = _most) { }
            Compiling?.Invoke();
            Thread.Sleep(Duration);
            Interlocked.Decrement(ref _now);
            return code == Broken ? throw new CudaException($"broken {times}") : [1];
        }
    }
}
