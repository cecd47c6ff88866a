using System.Globalization;

namespace FastGen.Benchmarks.Serving;

internal enum ServeMode
{
    /// <summary>A fixed number of clients, each sending its next request when the last one has ended.</summary>
    Closed,

    /// <summary>Requests at random instants of a given rate, whether or not earlier ones have ended.</summary>
    Poisson,

    /// <summary>Lengths and arrivals of a recorded trace.</summary>
    Trace,

    /// <summary>Minutes of a trace with cancellations and faults; then nothing may be lost, hung or leaked.</summary>
    Soak,

    /// <summary>One workload under several policies: token budgets, targets, SplitFuse on and off.</summary>
    Budget,

    /// <summary>Only draws what earlier runs wrote.</summary>
    Plots,

    /// <summary>Only writes the requests of a closed loop's points, for peers to send the same.</summary>
    Lengths,
}

/// <summary>What `serve` is asked to do.</summary>
internal sealed record ServeOptions
{
    public const string Usage = """
        serve --model FOLDER | --shape NAME   what is served; a shape has random BF16 weights
          --mode closed|poisson|trace|soak|budget|plots|lengths                    (closed)
          --device auto|cpu|cuda:N, --threads N                                    (auto)
          --prompt-mean A,B,…, --output-mean A,B,…  tokens, normal ± 30 %; pairs   (500 and 150)
          --clients A,B,…      closed, budget: a point each                        (1,2,4,8,16,32,64)
          --points LIST        closed: takes the place of the three above: peers (those of the peers' scripts), all,
                               or PROMPT,OUTPUT@CLIENTS,CLIENTS;PROMPT,OUTPUT@…
          --loads FILE         closed: exactly these requests, as lengths writes them and peers send them
          --offline on|off     closed: afterwards batches that come at once, as offline benchmarks send them   (off)
          --decodes A,B,…      offline: decodes of these numbers of sequences only                             (all)
          --rates A,B,…        poisson: requests a second, a point each            (1)
          --requests N         of a point; trace: the first N                      (by the clients; 30 s of a rate; all)
          --trace FILE         CSV or JSON lines, or a file of $FASTGEN_CONFORMANCE/traces
          --time-compression X trace, soak: arrivals come X times as fast          (1)
          --minutes X, --cancel-share X, --fault-share X   soak                    (1, 0.2, 0.002)
          --budget A,B,…       tokens a step; `budget` runs each                   (measured at load)
          --target-ms X,…      time between tokens that steps keep to; `budget` runs each
          --split-fuse on|off  off: prompts run whole, in steps of their own; `budget` runs that too   (on)
          --cache-tokens N, --sequences N, --context N   sizes of the engine
          --seed N             lengths, token ids and arrivals                     (1)
          --output DIR         JSON lines, PNG and SVG; plots draws what it holds  (artifacts/serving)
                               lengths writes loads.jsonl there, for eng/gpu/peers
          --label TEXT         this run's name in plots                            (FastGen)
          --compare NAME=FILE  draws another run's summary too; may be repeated
        """;

    public ServeMode Mode { get; init; }

    public string? Model { get; init; }

    public string? Shape { get; init; }

    public ComputeDevice Device { get; init; } = ComputeDevice.Auto;

    public int? Threads { get; init; }

    public IReadOnlyList<int> PromptMeans { get; init; } = [500];

    public IReadOnlyList<int> OutputMeans { get; init; } = [150];

    public IReadOnlyList<int> Clients { get; init; } = [1, 2, 4, 8, 16, 32, 64];

    /// <summary>Means of prompt and output with the numbers of clients that send them; null for every pair of <see cref="Lengths"/> and <see cref="Clients"/>.</summary>
    public IReadOnlyList<ClosedLoad>? Points { get; init; }

    /// <summary>Whether offline batches follow the closed loops.</summary>
    public bool Offline { get; init; }

    /// <summary>Numbers of sequences of the offline decodes; null for all.</summary>
    public IReadOnlyList<int>? Decodes { get; init; }

    /// <summary>A file of loads (see <see cref="ServeMode.Lengths"/>), which takes the place of the points.</summary>
    public string? Loads { get; init; }

    public IReadOnlyList<double> Rates { get; init; } = [];

    public int? Requests { get; init; }

    public string? Trace { get; init; }

    public double TimeCompression { get; init; } = 1;

    public double Minutes { get; init; } = 1;

    public double CancelShare { get; init; } = 0.2;

    public double FaultShare { get; init; } = 0.002;

    public IReadOnlyList<int> Budgets { get; init; } = [];

    /// <summary>Milliseconds between tokens that steps are to keep to.</summary>
    public IReadOnlyList<double> TargetMilliseconds { get; init; } = [];

    public bool SplitFuse { get; init; } = true;

    public int? CacheTokens { get; init; }

    public int? Sequences { get; init; }

    public int? Context { get; init; }

    public int Seed { get; init; } = 1;

    public string Output { get; init; } = Path.Combine("artifacts", "serving");

    public string Label { get; init; } = "FastGen";

    public IReadOnlyList<(string Label, string File)> Compared { get; init; } = [];

    /// <summary>Mean lengths of prompt and output, a pair for each workload.</summary>
    public IEnumerable<(int Prompt, int Output)> Lengths => PromptMeans.Zip(OutputMeans);

    /// <summary>The points of a closed loop.</summary>
    public IEnumerable<ClosedLoad> ClosedLoads => Points ?? [.. Lengths.Select(pair => new ClosedLoad(pair.Prompt, pair.Output, Clients))];

    /// <summary>The policy that was asked for, the first where there are several.</summary>
    public StepPolicy Policy => Policies.FirstOrDefault() ?? StepPolicy.Default;

    /// <summary>All policies that were asked for.</summary>
    public IEnumerable<StepPolicy> Policies =>
        Budgets.Select(budget => new StepPolicy(budget, null, true))
            .Concat(TargetMilliseconds.Select(target => new StepPolicy(null, TimeSpan.FromMilliseconds(target), true)))
            .Concat(SplitFuse ? [] : [new StepPolicy(null, null, false)]);

    /// <exception cref="ArgumentException">An option is unknown, lacks its value or has an impossible one.</exception>
    public static ServeOptions Parse(string[] args)
    {
        ServeOptions options = new();
        for (int i = 0; i < args.Length; i += 2)
        {
            string name = args[i];
            string value = i + 1 < args.Length ? args[i + 1] : throw new ArgumentException($"{name} needs a value.");
            options = name switch
            {
                "--mode" => options with { Mode = ModeOf(value) },
                "--model" => options with { Model = value },
                "--shape" => options with { Shape = value },
                "--device" => options with { Device = DeviceOf(value) },
                "--threads" => options with { Threads = Integer(name, value) },
                "--prompt-mean" => options with { PromptMeans = Integers(name, value) },
                "--output-mean" => options with { OutputMeans = Integers(name, value) },
                "--clients" => options with { Clients = Integers(name, value) },
                "--points" => options with { Points = ClosedLoad.Parse(value) },
                "--loads" => options with { Loads = value },
                "--rates" => options with { Rates = [.. value.Split(',').Select(part => Number(name, part))] },
                "--requests" => options with { Requests = Integer(name, value) },
                "--trace" => options with { Trace = value },
                "--time-compression" => options with { TimeCompression = Number(name, value) },
                "--minutes" => options with { Minutes = Number(name, value) },
                "--cancel-share" => options with { CancelShare = Share(name, value) },
                "--fault-share" => options with { FaultShare = Share(name, value) },
                "--budget" => options with { Budgets = Integers(name, value) },
                "--target-ms" => options with { TargetMilliseconds = [.. value.Split(',').Select(part => Number(name, part))] },
                "--split-fuse" => options with { SplitFuse = Switch(name, value) },
                "--offline" => options with { Offline = Switch(name, value) },
                "--decodes" => options with { Decodes = Integers(name, value) },
                "--cache-tokens" => options with { CacheTokens = Integer(name, value) },
                "--sequences" => options with { Sequences = Integer(name, value) },
                "--context" => options with { Context = Integer(name, value) },
                "--seed" => options with { Seed = Integer(name, value) },
                "--output" => options with { Output = value },
                "--label" => options with { Label = value },
                "--compare" => options with { Compared = [.. options.Compared, Named(name, value)] },
                _ => throw new ArgumentException($"{name} is no option of serve."),
            };
        }
        return options.Checked();
    }

    private ServeOptions Checked()
    {
        if (PromptMeans.Count != OutputMeans.Count) throw new ArgumentException($"--prompt-mean has {PromptMeans.Count} values and --output-mean {OutputMeans.Count}; they are pairs.");
        if (Mode is not (ServeMode.Plots or ServeMode.Lengths) && (Model is null) == (Shape is null)) throw new ArgumentException("Give --model FOLDER or --shape NAME, one of the two.");
        if (Mode == ServeMode.Plots && !Directory.Exists(Output)) throw new ArgumentException($"--output {Output}: there is no such folder; --mode plots draws what an earlier run wrote there.");
        if (Mode == ServeMode.Trace && Trace is null) throw new ArgumentException("--mode trace needs --trace FILE.");
        if (Mode != ServeMode.Budget && Budgets.Count + TargetMilliseconds.Count + (SplitFuse ? 0 : 1) > 1) throw new ArgumentException("--budget, --target-ms and --split-fuse off are one policy or another; several are for --mode budget.");
        return this;
    }

    private static ServeMode ModeOf(string value) =>
        Enum.TryParse(value, ignoreCase: true, out ServeMode mode) && Enum.IsDefined(mode) ? mode : throw new ArgumentException($"--mode is {value}; it must be {string.Join(", ", Enum.GetNames<ServeMode>()).ToLowerInvariant()}.");

    private static ComputeDevice DeviceOf(string value) => value switch
    {
        "auto" => ComputeDevice.Auto,
        "cpu" => ComputeDevice.Cpu,
        "cuda" => ComputeDevice.Cuda(),
        _ when value.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(value.AsSpan(5), NumberStyles.None, null, out int index) => ComputeDevice.Cuda(index),
        _ => throw new ArgumentException($"--device is {value}; it must be auto, cpu or cuda:N."),
    };

    private static int[] Integers(string name, string value) => [.. value.Split(',').Select(part => Integer(name, part))];

    private static int Integer(string name, string value) =>
        int.TryParse(value, NumberStyles.None, null, out int number) && number > 0 ? number : throw new ArgumentException($"{name} has {value}; it must be a whole number above 0.");

    private static bool Switch(string name, string value) => value switch
    {
        "on" => true,
        "off" => false,
        _ => throw new ArgumentException($"{name} is {value}; it must be on or off."),
    };

    private static double Number(string name, string value) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) && number > 0 ? number : throw new ArgumentException($"{name} has {value}; it must be a number above 0.");

    private static double Share(string name, string value) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && number is >= 0 and <= 1 ? number : throw new ArgumentException($"{name} has {value}; it must be from 0 to 1.");

    private static (string, string) Named(string name, string value) =>
        value.Split('=', 2) is [{ Length: > 0 } label, { Length: > 0 } file] ? (label, file) : throw new ArgumentException($"{name} has {value}; it must be NAME=FILE.");
}
