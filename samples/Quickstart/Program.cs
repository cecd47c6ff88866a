using System.CommandLine;
using System.Diagnostics;
using FastGen;
using FastGen.Kernels.Cuda;
using FastGen.Models;
using Spectre.Console;

Option<string> model = new("--model")
{
    Description = "A model folder as it lies on the Hugging Face hub: config.json, safetensors, tokenizer.",
    DefaultValueFactory = _ => Path.Combine(AppContext.BaseDirectory, "models", "fastgen-stories"),
};
Option<string> prompt = new("--prompt") { Description = "The text to continue.", DefaultValueFactory = _ => "Once upon a time" };
Option<int> maxNewTokens = new("--max-new-tokens") { Description = "Tokens to generate at most.", DefaultValueFactory = _ => 400 };
Option<float> temperature = new("--temperature") { Description = "0 is greedy; higher is more varied.", DefaultValueFactory = _ => 0.8f };
Option<float> topP = new("--top-p") { Description = "Keeps the most likely tokens up to this probability.", DefaultValueFactory = _ => 0.95f };
Option<int> topK = new("--top-k") { Description = "Keeps this many most likely tokens; 0 keeps all." };
Option<ulong?> seed = new("--seed") { Description = "Makes the text repeatable." };
Option<string[]> stop = new("--stop") { Description = "Texts that end generation." };

RootCommand command = new("Loads a model, streams the continuation of a prompt and prints what it cost.")
{
    model, prompt, maxNewTokens, temperature, topP, topK, seed, stop,
};
command.SetAction(async (arguments, cancellationToken) =>
{
    SamplingParameters sampling = new()
    {
        MaxNewTokens = arguments.GetValue(maxNewTokens),
        Temperature = arguments.GetValue(temperature),
        TopP = arguments.GetValue(topP),
        TopK = arguments.GetValue(topK),
        Seed = arguments.GetValue(seed),
        StopStrings = arguments.GetValue(stop) ?? [],
    };
    try
    {
        sampling.Validate();
        return await RunAsync(arguments.GetValue(model)!, arguments.GetValue(prompt)!, sampling, cancellationToken);
    }
    catch (Exception exception) when (exception is ModelLoadException or ArgumentException or GenerationException or DeviceLostException or InvalidOperationException or OutOfMemoryException or CudaException)
    {
        AnsiConsole.MarkupLineInterpolated($"[red]{exception.Message}[/]");
        return 1;
    }
    catch (OperationCanceledException)
    {
        return 130;
    }
});
return await command.Parse(args).InvokeAsync();

static async Task<int> RunAsync(string folder, string prompt, SamplingParameters sampling, CancellationToken cancellationToken)
{
    Stopwatch loading = Stopwatch.StartNew();
    using Pipeline pipeline = await LoadAsync(folder, cancellationToken);
    loading.Stop();

    // The terminal breaks lines: a renderer of whole texts would break every piece as if it began a line.
    Console.ForegroundColor = ConsoleColor.DarkGray;
    Console.Write(prompt);
    Console.ResetColor();
    GenerationResult? result = null;
    await foreach (GenerationPiece piece in pipeline.StreamAsync(prompt, sampling, cancellationToken))
    {
        Console.Write(piece.Text);
        result = piece.Result;
    }
    AnsiConsole.WriteLine();
    AnsiConsole.WriteLine();
    AnsiConsole.Write(Figures(pipeline, loading.Elapsed, result!));
    return 0;
}

static async Task<Pipeline> LoadAsync(string folder, CancellationToken cancellationToken) => await AnsiConsole.Progress()
    .AutoClear(true)
    .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn())
    .StartAsync(async context =>
    {
        ProgressTask task = context.AddTask($"Loading {Path.GetFileName(Path.GetFullPath(folder)).EscapeMarkup()}");
        return await Pipeline.LoadAsync(folder, progress: new Progress<LoadProgress>(progress => task.Value = 100.0 * progress.BytesLoaded / progress.TotalBytes), cancellationToken: cancellationToken);
    });

static Table Figures(Pipeline pipeline, TimeSpan loading, GenerationResult result)
{
    EngineStatistics engine = pipeline.Engine.Statistics;
    TimeSpan prompt = result.Timings.FirstToken - result.Timings.Queued, decoding = result.Timings.Total - result.Timings.FirstToken;
    Table table = new Table().Border(TableBorder.Rounded).HideHeaders().AddColumns("", "");
    table.AddRow("Model", $"{pipeline.Config.Architecture}, {pipeline.Device}".EscapeMarkup());
    table.AddRow("Load time", $"{loading.TotalSeconds:F2} s");
    table.AddRow("Prompt", $"{result.PromptTokens} tokens, {result.PromptTokens / prompt.TotalSeconds:F0} tok/s");
    table.AddRow("Generated", $"{result.GeneratedTokens} tokens, {(result.GeneratedTokens - 1) / Math.Max(decoding.TotalSeconds, 1e-9):F0} tok/s, ended by {result.FinishReason}");
    table.AddRow("Cache use", $"{engine.PeakUsedBlocks} of {engine.TotalBlocks} blocks of {engine.BlockSize} tokens ({pipeline.Engine.CacheBytes / 1048576.0:F0} MiB)");
    return table;
}
