using System.Text.Json.Nodes;
using FastGen.Models;

namespace FastGen.Tests;

public class ChatTemplateLoadTests
{
    private string _folder = "";

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("chat-template-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    private void Write(string file, string text)
    {
        string path = Path.Combine(_folder, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }

    private string Render(string? name = null, ChatTemplateOptions? options = null) => ChatTemplate.Load(_folder, name)!.Render([], options);

    [Test]
    public void Load_NoTemplate_IsNull()
    {
        Write("tokenizer_config.json", """{"bos_token": "<s>"}""");

        Assert.That(ChatTemplate.Load(_folder), Is.Null);
    }

    [Test]
    public void Load_NoFolder_Throws() =>
        Assert.That(() => ChatTemplate.Load(Path.Combine(_folder, "absent")), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains("absent"));

    [TestCase("chat_template.jinja")]
    [TestCase("additional_chat_templates/tool_use.jinja")]
    [TestCase("tokenizer_config.json")]
    public void Load_FileThatCannotBeRead_NamesIt(string file)
    {
        Write(file, "{}");
        string path = Path.Combine(_folder, file);
        using FileStream taken = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);

        ChatTemplateException fault = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Load(_folder))!;

        Assert.That(fault.Fault, Is.EqualTo(ChatTemplateFault.File));
        Assert.That(fault.Message, Does.Contain(path).And.Contain("cannot be read"));
    }

    [TestCase("chat_template.jinja", "{% for m in %}")]
    [TestCase("additional_chat_templates/tool_use.jinja", "{% for m in %}")]
    [TestCase("chat_template.json", """{"chat_template": "{% for m in %}"}""")]
    [TestCase("tokenizer_config.json", """{"chat_template": [{"name": "default", "template": "{% for m in %}"}]}""")]
    public void Load_TemplateThatIsNotValid_NamesItsFile(string file, string content)
    {
        Write(file, content);

        ChatTemplateException fault = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Load(_folder))!;

        Assert.That(fault.Fault, Is.EqualTo(ChatTemplateFault.Syntax));
        Assert.That(fault.Message, Does.Contain(Path.Combine(_folder, file)).And.Contain("line 1"));
    }

    [TestCase("""{"chat_template": "\ud800"}""")]
    [TestCase("""{"chat_template": [{"name": "default", "template": "\ud800"}]}""")]
    [TestCase("""{"chat_template": "x", "bos_token": "\ud800"}""")]
    [TestCase("""{"chat_template": "x", "\ud800": 1}""")]
    public void Load_HalfASurrogatePair_NamesTheFile(string config)
    {
        Write("tokenizer_config.json", config);

        ChatTemplateException fault = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Load(_folder))!;

        Assert.That(fault.Fault, Is.EqualTo(ChatTemplateFault.File));
        Assert.That(fault.Message, Does.Contain("tokenizer_config.json"));
    }

    [TestCase("""[{"role": "user", "content": "\ud800"}]""")]
    [TestCase("""[{"role": "user", "\ud800": ""}]""")]
    [TestCase("""[{"role": "user", "role": "assistant"}]""")]
    public void RenderJson_JsonThatCannotBeRead_IsAFaultOfTheRendering(string messages)
    {
        ChatTemplate template = ChatTemplate.Parse("{{ messages }}");
        Assert.That(() => template.RenderJson((JsonArray)JsonNode.Parse(messages)!), Throws.InstanceOf<ChatTemplateException>().With.Message.Contains("JSON"));
        Assert.That(() => template.RenderJson((JsonArray)JsonNode.Parse(messages)!, new ChatTemplateOptions { ContinueFinalMessage = true }), Throws.InstanceOf<ChatTemplateException>());
    }

    [Test]
    public void Render_NullMessage_NamesItsPlace()
    {
        Write("chat_template.jinja", "{{ messages }}");

        Assert.That(() => ChatTemplate.Load(_folder)!.Render([new ChatMessage("user", "Hi"), null!]), Throws.ArgumentException.With.Message.Contains("messages[1]"));
    }

    [Test]
    public void Load_NamedExtraSpecialTokens_AreVariables()
    {
        Write("tokenizer_config.json", """{"chat_template": "{{ image_token }}{{ audio_token }}", "extra_special_tokens": {"image_token": "<i>", "audio_token": {"content": "<a>"}}}""");

        Assert.That(ChatTemplate.Load(_folder)!.Render([]), Is.EqualTo("<i><a>"));
    }

    [Test]
    public void Load_TokenizerConfig_GivesTemplateAndSpecialTokens()
    {
        Write("tokenizer_config.json", """
            {"chat_template": "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}{{ unk_token }}{{ additional_special_tokens }}", "bos_token": {"__type": "AddedToken", "content": "<s>"},
             "eos_token": "</s>", "pad_token": null, "additional_special_tokens": ["<a>", {"content": "<b>"}]}
            """);
        Write("special_tokens_map.json", """{"unk_token": "<unk>", "eos_token": "<weaker>"}""");

        Assert.That(Render(), Is.EqualTo("<s></s>False<unk>['<a>', '<b>']"));
    }

    [Test]
    public void Load_NamedTemplates_SelectsDefaultAndToolUse()
    {
        Write("tokenizer_config.json", """{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}, {"name": "rag", "template": "R"}]}""");
        ChatTemplateOptions tools = new() { Tools = [] };

        Assert.That((Render(), Render(options: tools), Render("rag"), Render("rag", tools)), Is.EqualTo(("D", "T", "R", "R")));
        Assert.That(() => ChatTemplate.Load(_folder, "absent"), Throws.TypeOf<ChatTemplateException>().With.Message.Contains("'default', 'rag', 'tool_use'"));
    }

    [Test]
    public void Load_NoDefaultAmongSeveral_NamesThem()
    {
        Write("tokenizer_config.json", """{"chat_template": [{"name": "a", "template": "D"}, {"name": "b", "template": "T"}]}""");

        Assert.That(() => ChatTemplate.Load(_folder), Throws.TypeOf<ChatTemplateException>().With.Message.Contains("'a', 'b'"));
    }

    [Test]
    public void Load_SeveralSources_FilesWin()
    {
        Write("tokenizer_config.json", """{"chat_template": "config", "bos_token": "<s>"}""");
        Assert.That(Render(), Is.EqualTo("config"));

        Write("chat_template.json", """{"chat_template": "json"}""");
        Assert.That(Render(), Is.EqualTo("json"));

        Write("chat_template.jinja", "{{ bos_token }}file");
        Assert.That(Render(), Is.EqualTo("<s>file"));

        Write("additional_chat_templates/tool_use.jinja", "tools");
        Assert.That(Render(options: new ChatTemplateOptions { Tools = new JsonArray(new JsonObject()) }), Is.EqualTo("tools"));
        Assert.That(Render("tool_use"), Is.EqualTo("tools"));
    }

    [TestCase("{", "not valid JSON")]
    [TestCase("[]", "does not hold a JSON object")]
    [TestCase("""{"chat_template": 5}""", "chat_template")]
    [TestCase("""{"chat_template": [{"name": "a"}]}""", "'name' and 'template'")]
    [TestCase("""{"chat_template": "x", "bos_token": 5}""", "bos_token")]
    public void Load_BadConfig_NamesFileAndField(string config, string part)
    {
        Write("tokenizer_config.json", config);

        ChatTemplateException error = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Load(_folder))!;

        Assert.That(error.Fault, Is.EqualTo(ChatTemplateFault.File));
        Assert.That(error.Message, Does.Contain("tokenizer_config.json").And.Contain(part));
    }
}
