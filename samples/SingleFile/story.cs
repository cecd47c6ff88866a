#:package FastGen@0.1.0

// In a folder of its own, outside this repository: dotnet run story.cs -- MODEL_FOLDER [PROMPT...]
using FastGen;

using Pipeline pipeline = Pipeline.Load(args[0]);
string[] prompts = args.Length > 1 ? args[1..] : ["Once upon a time", "One rainy morning"];
foreach (GenerationResult result in pipeline.Generate(prompts, SamplingParameters.Greedy with { MaxNewTokens = 24 }))
{
    Console.WriteLine($"[{result.GeneratedTokens}] {result}");
}
