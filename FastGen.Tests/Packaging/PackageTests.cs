using System.Diagnostics;
using System.Text;

namespace FastGen.Tests;

/// <summary>What a user does with the packages: a console project and a single-file program that generate with the default model.</summary>
[NonParallelizable]
public sealed class PackageTests
{
    private const string Program = """
        using FastGen;
        using var pipeline = Pipeline.Load(args[0]);
        string[] prompts = ["Once upon a time", "One rainy morning"];
        var results = pipeline.Generate(prompts, SamplingParameters.Greedy with { MaxNewTokens = 24 });
        foreach (var result in results) Console.WriteLine($"[{result.GeneratedTokens}] {result}");
        """;

    private string _folder = "";

    [OneTimeSetUp]
    public void Pack()
    {
        string? root = Repository.Root;
        if (root is null || !Run("dotnet", ["--version"], ".", out _)) Assert.Ignore("The packages are made from the repository with the .NET SDK, which is not here.");
        _folder = Directory.CreateTempSubdirectory("fastgen-packages-").FullName;
        foreach (string project in (string[])["FastGen.Core", "FastGen.Models", "FastGen.Kernels", "FastGen"])
        {
            Must("dotnet", ["pack", project, "-c", "Release", "-o", Path.Combine(_folder, "packages"), "--nologo", "-v", "q"], root!);
        }
        File.WriteAllText(Path.Combine(_folder, "nuget.config"), """
            <configuration>
              <packageSources>
                <clear />
                <add key="local" value="packages" />
                <add key="nuget.org" value="https://api.nuget.org/v3/index.json" />
              </packageSources>
            </configuration>
            """);
    }

    [OneTimeTearDown]
    public void Clean()
    {
        if (_folder.Length > 0) Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public void AddPackage_EmptyConsoleProject_Generates()
    {
        string project = Path.Combine(_folder, "console");
        Must("dotnet", ["new", "console", "-o", project], _folder);
        Must("dotnet", ["add", project, "package", "FastGen"], _folder);
        File.WriteAllText(Path.Combine(project, "Program.cs"), Program);
        AssertGenerates(Must("dotnet", ["run", "--project", project, "--", DefaultModel.Folder], _folder));
    }

    [Test]
    public void SingleFileProgram_PackageDirective_Generates()
    {
        File.Copy(Path.Combine(Repository.Root!, "samples", "SingleFile", "story.cs"), Path.Combine(_folder, "story.cs"));
        AssertGenerates(Must("dotnet", ["run", "story.cs", "--", DefaultModel.Folder], _folder));
    }

    private static void AssertGenerates(string output) => Assert.That(output.Split('\n').Count(line => line.StartsWith("[24] ", StringComparison.Ordinal) && line.Length > 30), Is.EqualTo(2), output);

    private string Must(string command, string[] arguments, string workingFolder)
    {
        Assert.That(Run(command, arguments, workingFolder, out string output), $"{command} {string.Join(' ', arguments)}\n{output}");
        return output;
    }

    private bool Run(string command, string[] arguments, string workingFolder, out string output)
    {
        ProcessStartInfo start = new(command, arguments) { WorkingDirectory = workingFolder, RedirectStandardOutput = true, RedirectStandardError = true };
        // Packages of the same version from an earlier run must not be found.
        if (_folder.Length > 0 && workingFolder == _folder) start.Environment["NUGET_PACKAGES"] = Path.Combine(_folder, "cache");
        StringBuilder text = new();
        try
        {
            using Process process = Process.Start(start)!;
            process.ErrorDataReceived += (_, line) => text.AppendLine(line.Data);
            process.BeginErrorReadLine();
            text.Append(process.StandardOutput.ReadToEnd());
            process.WaitForExit();
            output = text.ToString();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception exception)
        {
            output = exception.Message;
            return false;
        }
    }
}
