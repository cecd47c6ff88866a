namespace FastGen.Benchmarks.Serving;

internal static class Soak
{
    public static int Run(ServeOptions options) => options is null ? 1 : 0;
}
