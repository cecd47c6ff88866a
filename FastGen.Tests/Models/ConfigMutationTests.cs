using System.Text;
using System.Text.Json;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>
/// Every field of sound configurations in turn, removed or with a value of another kind or size: it is read, or refused with the file's name; nothing else comes
/// out. <c>FASTGEN_MUTATION_STRIDE</c> takes every n-th mutation of the kit's (default 37; 1 for all).
/// </summary>
public sealed class ConfigMutationTests
{
    private static readonly string?[] Values =
    [
        null, "null", "true", "-1", "0", "1", "3", "0.5", "1e308", "1e400", "2147483648", "1e19", "\"x\"", "\"\"", "\"\\ud800\"", "[]", "{}", "[null]", "[-1]", "[\"a\"]", "{\"\\ud800\": 1}",
    ];

    private string _path = "";

    [SetUp]
    public void MakeFile() => _path = Path.GetTempFileName();

    [TearDown]
    public void RemoveFile() => File.Delete(_path);

    [Test]
    public void Read_OwnConfigMutated_IsReadOrExplained() => Check([Path.Combine(DefaultModel.Folder, "config.json")], stride: 1, path => ModelConfig.Read(path));

    [Test]
    public void Read_GenerationConfigMutated_IsReadOrExplained()
    {
        ModelConfig model = ModelConfig.Read(Path.Combine(DefaultModel.Folder, "config.json"));
        string whole = Path.Combine(Path.GetDirectoryName(_path)!, Path.GetRandomFileName());
        File.WriteAllText(whole, """
            {"eos_token_id": [2, 3], "do_sample": true, "temperature": 0.5, "top_k": 4, "top_p": 0.5, "min_p": 0.1, "repetition_penalty": 1.1, "max_new_tokens": 9,
             "min_new_tokens": 2, "max_length": 12, "stop_strings": ["a"], "num_beams": 2, "typical_p": 0.5, "bad_words_ids": [[1]]}
            """);
        try
        {
            Check([whole], stride: 1, path => GenerationConfig.Read(path, model).ToSamplingParameters().Validate());
        }
        finally
        {
            File.Delete(whole);
        }
    }

    [Test]
    public void Read_ConfigOfTheKitMutated_IsReadOrExplained()
    {
        string root = ConformanceKit.Folder("models");
        int stride = int.TryParse(Environment.GetEnvironmentVariable("FASTGEN_MUTATION_STRIDE"), out int given) ? given : 37;
        Check(Directory.EnumerateFiles(root, "config.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal), stride, path => ModelConfig.Read(path));
    }

    private void Check(IEnumerable<string> files, int stride, Action<string> read)
    {
        int count = 0;
        foreach (string file in files)
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            foreach (string[] field in Fields(document.RootElement, []))
            {
                foreach (string? value in Values)
                {
                    if (count++ % stride != 0) continue;
                    string json = Mutate(document.RootElement, field, value);
                    File.WriteAllText(_path, json);
                    try
                    {
                        read(_path);
                    }
                    catch (ModelLoadException exception)
                    {
                        Assert.That(exception.Message, Does.Contain(_path), json);
                    }
                    catch (Exception exception) when (exception is not AssertionException)
                    {
                        Assert.Fail($"{file}, {string.Join('.', field)} = {value ?? "absent"}: {exception}");
                    }
                }
            }
        }
        Assert.That(count, Is.GreaterThan(100));
    }

    private static IEnumerable<string[]> Fields(JsonElement element, string[] at) => element.ValueKind != JsonValueKind.Object
        ? []
        : element.EnumerateObject().SelectMany(property => Fields(property.Value, [.. at, property.Name]).Prepend([.. at, property.Name]));

    private static string Mutate(JsonElement element, ReadOnlySpan<string> field, string? value)
    {
        StringBuilder json = new();
        foreach (JsonProperty property in element.EnumerateObject())
        {
            bool isOnTheWay = property.NameEquals(field[0]);
            string? written = !isOnTheWay ? property.Value.GetRawText() : field.Length > 1 ? Mutate(property.Value, field[1..], value) : value;
            if (written is not null) json.Append(json.Length == 0 ? "" : ", ").Append('"').Append(JsonEncodedText.Encode(property.Name)).Append("\": ").Append(written);
        }
        return $"{{{json}}}";
    }
}
