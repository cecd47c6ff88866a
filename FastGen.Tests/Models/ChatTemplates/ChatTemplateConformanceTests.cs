using System.Text.Json.Nodes;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>The kit's cases: what Jinja2, set up as in Hugging Face transformers, gives for real templates and for the language's constructs.</summary>
public class ChatTemplateConformanceTests
{
    private static readonly DateTime GoldenTime = new(2024, 7, 26, 0, 0, 0);
    private static readonly DateTime HuggingFaceJsTime = new(2025, 7, 10, 12, 0, 0);

    private static IEnumerable<TestCaseData> Goldens() => TemplateKit.Cases("rendered_goldens_jinja2.json");

    private static IEnumerable<TestCaseData> EndToEnd() => TemplateKit.Cases("hfjs_e2e_cases.json");

    private static IEnumerable<TestCaseData> Syntax() => TemplateKit.Cases("hfjs_syntax_cases.json");

    private static IEnumerable<TestCaseData> LlamaCpp() => TemplateKit.Cases("llamacpp_chat_template_cases.json");

    [TestCaseSource(nameof(Goldens))]
    public void Render_Golden_AgreesWithJinja2(JsonObject? root, JsonObject? item)
    {
        TemplateKit.RequireKit(item);
        string file = item!["template"]!.GetValue<string>();
        JsonObject model = root!["templates"]!.AsArray().Select(entry => entry!.AsObject()).Single(entry => entry["file"]!.GetValue<string>() == file);
        JsonObject conversation = root["conversations"]![item["conversation"]!.GetValue<string>()]!.AsObject();
        string[] variant = item["variant"]!.GetValue<string>().Split('+');
        Dictionary<string, JsonNode?> tokens = new[] { "bos_token", "eos_token" }.Where(name => model[name] is not null).ToDictionary(name => name, name => model[name]);
        ChatTemplateOptions options = new()
        {
            Tools = (JsonArray?)conversation["tools"],
            AddGenerationPrompt = variant[0] == "gen",
            Variables = variant.Skip(1).Select(setting => setting.Split('=')).ToDictionary(setting => setting[0], setting => JsonNode.Parse(setting[1].ToLowerInvariant())),
            TimeProvider = new FixedTime(GoldenTime),
        };

        string source = File.ReadAllText(Path.Combine(ConformanceKit.Folder("templates"), file));
        string rendered;
        try
        {
            rendered = ChatTemplate.Parse(source, tokens).RenderJson(conversation["messages"]!.AsArray(), options);
        }
        catch (ChatTemplateException error)
        {
            rendered = "ERROR " + (error.Fault == ChatTemplateFault.Rejected ? "TemplateError: " : "") + error.Reason;
        }

        Assert.That(rendered, Is.EqualTo(item["rendered"]?.GetValue<string>() ?? "ERROR " + item["error"]!.GetValue<string>()));
    }

    [TestCaseSource(nameof(EndToEnd))]
    public void Render_EndToEndCase_AgreesWithJinja2(JsonObject? root, JsonObject? item)
    {
        TemplateKit.RequireKit(item);

        string rendered = TemplateKit.Render(item!["chat_template"]!.GetValue<string>(), TemplateKit.Variables(item["data"]!.AsObject()), HuggingFaceJsTime);

        Assert.That(rendered, Is.EqualTo(Expected(item, "target")));
    }

    [TestCaseSource(nameof(Syntax))]
    public void Render_SyntaxCase_AgreesWithJinja2(JsonObject? root, JsonObject? item)
    {
        TemplateKit.RequireKit(item);

        string rendered = TemplateKit.Render(item!["template"]!.GetValue<string>(), TemplateKit.Variables(item["context"]!.AsObject()), HuggingFaceJsTime);

        string expected = item["jinja2_match"] is null ? PrintBooleans(Expected(item, "expected")) : Expected(item, "expected");
        Assert.That(rendered, Is.EqualTo(expected));
    }

    [TestCaseSource(nameof(LlamaCpp))]
    public void Render_LlamaCppCase_AgreesWithJinja2(JsonObject? root, JsonObject? item)
    {
        TemplateKit.RequireKit(item);
        JsonObject data = new()
        {
            ["messages"] = root!["messages"]!.DeepClone(),
            ["add_generation_prompt"] = root["add_generation_prompt"]!.DeepClone(),
            ["bos_token"] = item!["bos_token"]!.DeepClone(),
            ["eos_token"] = item["eos_token"]!.DeepClone(),
        };

        string rendered = TemplateKit.Render(item["template_str"]!.GetValue<string>(), TemplateKit.Variables(data), HuggingFaceJsTime);

        string expected = Expected(item, "expected_output");
        Assert.That(rendered, Is.EqualTo(TemplateKit.ExpectedError(expected) ?? expected));
    }

    private static string Expected(JsonObject item, string otherwise) =>
        item["jinja2_error"] is JsonValue error ? "ERROR " + error.GetValue<string>() : (item["jinja2_output"] ?? item[otherwise])!.GetValue<string>();

    // Cases that Jinja2 could not run have only the JavaScript engine's output, which prints booleans in lower case.
    private static string PrintBooleans(string text) => text.Replace("true", "True", StringComparison.Ordinal).Replace("false", "False", StringComparison.Ordinal);
}
