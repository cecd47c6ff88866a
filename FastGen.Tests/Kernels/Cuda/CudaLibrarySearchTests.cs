using FastGen.Kernels.Cuda.Libraries;

namespace FastGen.Tests;

public sealed class CudaLibrarySearchTests
{
    private string _root = "";

    [SetUp]
    public void MakeFolder() => _root = Directory.CreateTempSubdirectory("fastgen-search").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_root, recursive: true);

    [Test]
    public void Candidates_EveryPlaceHasALibrary_OrderIsOptionVariableApplicationToolkitLoaderPython()
    {
        string[] folders =
        [
            "option/libnvrtc.so.12", "variable/lib64/libnvrtc.so.13", "app/libnvrtc.so.12", "app/runtimes/linux-x64/native/libnvrtc.so.12",
            "cuda_path/lib64/libnvrtc.so.13", "local/cuda/lib64/libnvrtc.so.12", "local/cuda-13.0/targets/x86_64-linux/lib/libnvrtc.so.13",
            "local/cuda-12.4/lib64/libnvrtc.so.12", "system/libnvrtc.so.12", "venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
            "packages/nvidia/cu13/lib/libnvrtc.so.13",
        ];
        foreach (string file in folders) Touch(file);
        CudaLibrarySearch search = Linux(new() { [CudaLibrarySearch.PathVariable] = At("variable"), ["CUDA_PATH"] = At("cuda_path"), ["VIRTUAL_ENV"] = At("venv") }, explicitFolder: At("option"));

        string[] found = [.. search.Candidates(CudaLibrary.Compiler).Select(candidate => Path.GetRelativePath(_root, candidate.Path).Replace('\\', '/'))];

        string[] loader = [.. CudaLibrary.Compiler.LinuxNames.Select(name => Path.GetRelativePath(_root, name).Replace('\\', '/'))];
        Assert.That(found, Is.EqualTo((string[])[folders[0], folders[1], folders[2], folders[3], folders[4], folders[5], folders[6], folders[7], folders[8], .. loader, folders[9], folders[10]]));
    }

    [Test]
    public void Candidates_ToolkitsOfSeveralVersions_NewestComesFirst()
    {
        foreach (string version in (string[])["12.9", "13.1", "12.10"]) Touch($"local/cuda-{version}/lib64/libcublasLt.so.{version[..2]}");

        string[] versions = [.. Linux([]).Candidates(CudaLibrary.Products).Where(candidate => Path.IsPathRooted(candidate.Path)).Select(candidate => candidate.Path.Split("cuda-")[1].Split('/', '\\')[0])];

        Assert.That(versions, Is.EqualTo((string[])["13.1", "12.10", "12.9"]));
    }

    [Test]
    public void Candidates_TorchSharpPackageOnWindows_IsFoundInRuntimesFolder()
    {
        Touch("app/runtimes/win-x64/native/nvrtc64_120_0.dll");
        Touch("app/runtimes/win-x64/native/cublasLt64_12.dll");
        CudaLibrarySearch search = Windows([]);

        Assert.That(search.Candidates(CudaLibrary.Compiler).First(), Is.EqualTo(new CudaCandidate(At("app/runtimes/win-x64/native/nvrtc64_120_0.dll"), "application folder")));
        Assert.That(search.Candidates(CudaLibrary.Products).First().Path, Is.EqualTo(At("app/runtimes/win-x64/native/cublasLt64_12.dll")));
    }

    [Test]
    public void Candidates_WindowsToolkits_BothLayoutsAreFound()
    {
        Touch("toolkits/v12.9/bin/nvrtc64_120_0.dll");
        Touch("toolkits/v13.0/bin/x64/nvrtc64_130_0.dll");

        CudaCandidate[] found = [.. Windows([]).Candidates(CudaLibrary.Compiler).Where(candidate => Path.IsPathRooted(candidate.Path))];

        Assert.That(found.Select(candidate => candidate.Path), Is.EqualTo((string[])[At("toolkits/v13.0/bin/x64/nvrtc64_130_0.dll"), At("toolkits/v12.9/bin/nvrtc64_120_0.dll")]));
    }

    [Test]
    public void Candidates_WindowsPython_IsFoundAfterTheLoader()
    {
        Touch("venv/Lib/site-packages/nvidia/cublas/bin/cublasLt64_12.dll");

        CudaCandidate[] found = [.. Windows(new() { ["VIRTUAL_ENV"] = At("venv") }).Candidates(CudaLibrary.Products)];

        Assert.That(found.Select(candidate => candidate.Origin), Is.EqualTo((string[])["loader's path", "loader's path", "Python package"]));
    }

    [Test]
    public void Candidates_WindowsPythonOfCuda13_IsFoundAFolderDeeper()
    {
        Touch("venv/Lib/site-packages/nvidia/cu13/bin/x86_64/nvrtc64_130_0.dll");

        CudaCandidate[] found = [.. Windows(new() { ["VIRTUAL_ENV"] = At("venv") }).Candidates(CudaLibrary.Compiler)];

        Assert.That(found[^1], Is.EqualTo(new CudaCandidate(At("venv/Lib/site-packages/nvidia/cu13/bin/x86_64/nvrtc64_130_0.dll"), "Python package")));
    }

    [Test]
    public void Folders_OnArm_AreThoseOfArm()
    {
        CudaLibrarySearch search = Search(windows: false, new() { ["CUDA_PATH"] = At("toolkit") }, null, arm: true);

        Assert.That(search.Folders().Select(folder => folder.Folder), Does.Contain(At("toolkit/targets/sbsa-linux/lib")).And.Contain(At("app/runtimes/linux-arm64/native")));
    }

    [Test]
    public void Candidates_HashedNvrtcOfLibtorch_IsTakenAndItsBuiltinsAreNot()
    {
        Touch("app/libnvrtc-b51b459d.so.12");
        Touch("app/libnvrtc-builtins-0d4a5c9e.so.12.8");

        Assert.That(Linux([]).Candidates(CudaLibrary.Compiler).Count(candidate => Path.IsPathRooted(candidate.Path)), Is.EqualTo(1));
    }

    [Test]
    public void Companions_BuiltinsBesideNvrtc_AreNamed()
    {
        foreach (string file in (string[])["app/libnvrtc.so.13", "app/libnvrtc-builtins.so.13.0", "app/nvrtc64_130_0.dll", "app/nvrtc-builtins64_130.dll"]) Touch(file);

        Assert.That(Linux([]).Companions(CudaLibrary.Compiler, new CudaCandidate(At("app/libnvrtc.so.13"), "")), Is.EqualTo((string[])[At("app/libnvrtc-builtins.so.13.0")]));
        Assert.That(Windows([]).Companions(CudaLibrary.Compiler, new CudaCandidate(At("app/nvrtc64_130_0.dll"), "")), Is.EqualTo((string[])[At("app/nvrtc-builtins64_130.dll")]));
        Assert.That(Linux([]).Companions(CudaLibrary.Compiler, new CudaCandidate("libnvrtc.so.13", "")), Is.Empty);
        Assert.That(Linux([]).Companions(CudaLibrary.Products, new CudaCandidate(At("app/libcublasLt.so.13"), "")), Is.Empty);
    }

    [TestCase("/usr/lib64/libnvrtc.so.13", 13)]
    [TestCase("libnvrtc.so.12", 12)]
    [TestCase("/app/libnvrtc-b51b459d.so.12", 12)]
    [TestCase(@"C:\CUDA\v13.0\bin\x64\nvrtc64_130_0.dll", 13)]
    [TestCase("nvrtc64_120_0.dll", 12)]
    [TestCase("cublasLt64_13.dll", 13)]
    [TestCase("libnvrtc.so", 0)]
    public void MajorOf_NamesOfFiles_SayTheirCuda(string path, int major) => Assert.That(CudaLibrary.Compiler.MajorOf(path), Is.EqualTo(major));

    [Test]
    public void MajorOf_Driver_SaysNothing() => Assert.That(CudaLibrary.Driver.MajorOf("libcuda.so.1"), Is.Zero);

    [Test]
    public void Candidates_DriverOnLinux_IsNamedByItsMajorVersion() =>
        Assert.That(Linux([]).Candidates(CudaLibrary.Driver).Select(candidate => candidate.Path), Is.EqualTo((string[])["libcuda.so.1"]));

    private CudaLibrarySearch Linux(Dictionary<string, string> variables, string? explicitFolder = null) => Search(windows: false, variables, explicitFolder);

    private CudaLibrarySearch Windows(Dictionary<string, string> variables) => Search(windows: true, variables, null);

    private CudaLibrarySearch Search(bool windows, Dictionary<string, string> variables, string? explicitFolder, bool arm = false) => new()
    {
        Windows = windows,
        Arm = arm,
        ExplicitFolder = explicitFolder,
        ApplicationFolder = At("app"),
        Variable = variables.GetValueOrDefault,
        ToolkitParents = [At(windows ? "toolkits" : "local")],
        SystemFolders = [At("system")],
        PythonPackageFolders = [At("packages")],
    };

    private string At(string path) => Path.Combine([_root, .. path.Split('/')]);

    private void Touch(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(path))!);
        File.WriteAllBytes(At(path), []);
    }
}
