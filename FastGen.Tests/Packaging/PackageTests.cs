using System.Diagnostics;
using System.IO.Compression;
using System.Text;
using System.Xml.Linq;

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

    [Test]
    public void Packages_Metadata_TellsThemApartAndHoldsNothingElse()
    {
        Dictionary<string, string> descriptions = [];
        foreach (string path in Directory.EnumerateFiles(Path.Combine(_folder, "packages"), "*.nupkg"))
        {
            using ZipArchive package = ZipFile.OpenRead(path);
            string name = Path.GetFileNameWithoutExtension(package.Entries.Single(entry => entry.FullName.EndsWith(".nuspec", StringComparison.Ordinal)).FullName);
            Assert.That(
                package.Entries.Select(entry => entry.FullName).Where(entry => !entry.StartsWith("package/", StringComparison.Ordinal) && !entry.StartsWith("_rels/", StringComparison.Ordinal) && entry != "[Content_Types].xml"),
                Is.EquivalentTo((string[])[$"{name}.nuspec", "README.md", $"lib/net10.0/{name}.dll", $"lib/net10.0/{name}.xml"]));
            using Stream nuspec = package.GetEntry($"{name}.nuspec")!.Open();
            XElement metadata = XDocument.Load(nuspec).Root!.Elements().Single();
            string Of(string field) => metadata.Elements().Single(element => element.Name.LocalName == field).Value;
            Assert.That((Of("id"), Of("license"), Of("readme")), Is.EqualTo((name, "Apache-2.0", "README.md")));
            Assert.That(File.Exists(Path.ChangeExtension(path, ".snupkg")), path);
            descriptions.Add(name, Of("description"));
        }
        Assert.That(descriptions.Keys, Is.EquivalentTo((string[])["FastGen", "FastGen.Core", "FastGen.Models", "FastGen.Kernels"]));
        Assert.That(descriptions.Values, Is.Unique);
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
