using System.Diagnostics;
using System.Reflection;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>A kernel that faults takes the device from its whole process: this test runs itself in one of its own.</summary>
[Category("Cuda")]
public sealed class CudaDeviceLossTests
{
    private const string Variable = "FASTGEN_TEST_LOSES_DEVICE";

    [Test]
    public async Task Fault_RequestsRunningAndWaiting_AllFailAndNothingHangs()
    {
        CudaProbe probe = CudaBackend.Probe();
        if (!probe.IsUsable) Assert.Ignore(probe.Failure!);
        if (Environment.GetEnvironmentVariable(Variable) is null) await RunInProcessOfItsOwn();
        else await LoseDevice();
    }

    private static async Task LoseDevice()
    {
        CudaBackend cuda = new();
        ObservedBackend backend = new(cuda);
        LlmEngine engine = new(ModelLoader.Load(DefaultModel.Folder, backend).Model, [], new EngineOptions { TokenBudget = 64, CacheTokens = 4096, MaxSequences = 8 });
        SamplingParameters endless = SamplingParameters.Greedy with { MaxNewTokens = 200, IgnoreEndOfSequence = true };
        GenerationRequest[] requests = [.. Enumerable.Range(0, 20).Select(i => engine.Submit([1, 2 + i, 3], endless))];
        await requests[0].WaitAsync(5);
        // A norm of rows that lie nowhere.
        Tensor nowhere = new(4096, DType.F32, 1, 1024);
        backend.Submitting = _ => cuda.Norm(nowhere, nowhere, new NormWeights(NormKind.Rms, nowhere, null, 1e-5f));
        foreach (GenerationRequest request in requests)
        {
            DeviceLostException exception = (await Assert.ThrowsAsync<DeviceLostException>(async () => await LlmEngineTests.Tokens(request)))!;
            Assert.That(exception.Message, Does.Contain("can no longer be used by this process").And.Contain("Start the process anew"));
        }
        Assert.That(() => engine.Submit([1], endless), Throws.TypeOf<DeviceLostException>());
        await Task.Run(() =>
        {
            engine.Dispose();
            backend.Dispose();
        }).WaitAsync(TimeSpan.FromSeconds(30));
    }

    private static async Task RunInProcessOfItsOwn()
    {
        string program = Environment.ProcessPath!;
        ProcessStartInfo start = new(program) { RedirectStandardOutput = true, RedirectStandardError = true };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet") start.ArgumentList.Add(Assembly.GetExecutingAssembly().Location);
        foreach (string argument in (string[])["--filter", $"FullyQualifiedName~{nameof(CudaDeviceLossTests)}", "--no-progress", "--no-ansi"]) start.ArgumentList.Add(argument);
        start.Environment[Variable] = "1";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(100));
        try
        {
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail("It hangs.");
        }
        Assert.That(process.ExitCode, Is.Zero, $"{await output}{await errors}");
        Assert.That(await output, Does.Contain("succeeded: 1"));
    }
}
