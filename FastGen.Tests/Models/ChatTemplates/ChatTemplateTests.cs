using System.Text.Json.Nodes;
using FastGen.Models;

namespace FastGen.Tests;

public class ChatTemplateTests
{
    private const string ChatMl = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    private static readonly ChatMessage[] Conversation = [new("user", "Hi"), new("assistant", "Hello, ")];

    [Test]
    public void Render_ByDefault_AddsGenerationPrompt()
    {
        string text = ChatTemplate.Parse(ChatMl).Render([new ChatMessage("user", "Hi")]);

        Assert.That(text, Is.EqualTo("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
    }

    [Test]
    public void Render_WithoutGenerationPrompt_EndsWithLastMessage()
    {
        string text = ChatTemplate.Parse(ChatMl).Render([new ChatMessage("user", "Hi")], new ChatTemplateOptions { AddGenerationPrompt = false });

        Assert.That(text, Is.EqualTo("<|im_start|>user\nHi<|im_end|>\n"));
    }

    [Test]
    public void Render_ContinueFinalMessage_EndsInsideIt()
    {
        string text = ChatTemplate.Parse(ChatMl).Render(Conversation, new ChatTemplateOptions { ContinueFinalMessage = true });

        Assert.That(text, Is.EqualTo("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello, "));
    }

    [Test]
    public void Render_ContinueFinalMessageOfTrimmingTemplate_EndsAtItsText()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}[{{ m.content | trim }}]{% endfor %}");

        Assert.That(template.Render(Conversation, new ChatTemplateOptions { ContinueFinalMessage = true }), Is.EqualTo("[Hi][Hello,"));
    }

    [Test]
    public void Render_ContinueFinalMessageWithParts_ContinuesLastText()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endfor %}");
        ChatMessage message = new("assistant", null) { Parts = JsonNode.Parse("""[{"type":"text","text":"a"},{"type":"text","text":"b"}]""")!.AsArray() };

        Assert.That(template.Render([message], new ChatTemplateOptions { ContinueFinalMessage = true }), Is.EqualTo("<a><b"));
    }

    [Test]
    public void Render_ContinueFinalMessageWithoutText_Throws()
    {
        Assert.That(() => ChatTemplate.Parse(ChatMl).Render([new ChatMessage("assistant", null)], new ChatTemplateOptions { ContinueFinalMessage = true }),
            Throws.TypeOf<ChatTemplateException>().With.Message.Contains("no text to continue"));
        Assert.That(() => ChatTemplate.Parse("fixed").Render(Conversation, new ChatTemplateOptions { ContinueFinalMessage = true }),
            Throws.TypeOf<ChatTemplateException>().With.Message.Contains("does not write the last message"));
    }

    [Test]
    public void Render_MessageFields_ReachTheTemplate()
    {
        ChatMessage call = new("assistant", null)
        {
            ToolCalls = JsonNode.Parse("""[{"type":"function","function":{"name":"f","arguments":{"x":1.0,"y":10000000000000000000000}}}]""")!.AsArray(),
            Extra = new Dictionary<string, JsonNode?> { ["reasoning_content"] = "why" },
        };
        ChatMessage answer = new("tool", "42") { Name = "f", ToolCallId = "id0" };

        string text = ChatTemplate.Parse("{{ messages | tojson }}").Render([call, answer]);

        Assert.That(text, Is.EqualTo("""[{"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": 1.0, "y": 10000000000000000000000}}}], "reasoning_content": "why"}, {"role": "tool", "content": "42", "name": "f", "tool_call_id": "id0"}]"""));
    }

    [Test]
    public void Render_Variables_WinOverSpecialTokensAndNotOverMessages()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ bos_token }}{{ eos_token }}{{ enable_thinking }}{{ messages | length }}{{ tools }}", new Dictionary<string, JsonNode?> { ["bos_token"] = "<s>", ["eos_token"] = "</s>" });
        Dictionary<string, JsonNode?> variables = new() { ["eos_token"] = "<end>", ["enable_thinking"] = false, ["messages"] = "hidden" };

        Assert.That(template.Render(Conversation, new ChatTemplateOptions { Variables = variables }), Is.EqualTo("<s><end>False2None"));
    }

    [Test]
    public void Render_StrftimeNow_TakesTheGivenClock()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ strftime_now('%d %b %Y|%-d %B %y|%A %H:%M:%S|%I %p|%j|%e|%%|%F %T') }}");

        string text = template.Render([], new ChatTemplateOptions { TimeProvider = new FixedTime(new DateTime(2024, 3, 5, 14, 7, 9)) });

        Assert.That(text, Is.EqualTo("05 Mar 2024|5 March 24|Tuesday 14:07:09|02 PM|065| 5|%|2024-03-05 14:07:09"));
    }

    [Test]
    public void Render_RaiseException_SurfacesTheMessage()
    {
        ChatTemplate template = ChatTemplate.Parse("a\n{% if true %}\n{{ raise_exception('Roles must alternate') }}{% endif %}");

        ChatTemplateException error = Assert.Throws<ChatTemplateException>(() => template.Render([]))!;

        Assert.That((error.Fault, error.Reason, error.Line), Is.EqualTo((ChatTemplateFault.Rejected, "Roles must alternate", (int?)3)));
        Assert.That(error.Message, Does.Contain("line 3").And.Contain("Roles must alternate"));
    }

    [Test]
    public void Render_RuntimeError_NamesLineAndPythonError()
    {
        ChatTemplateException error = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("\n\n{{ messages[0].nope.x }}").Render(Conversation))!;

        Assert.That((error.Fault, error.Reason, error.Line), Is.EqualTo((ChatTemplateFault.Evaluation, "UndefinedError: 'dict object' has no attribute 'nope'", (int?)3)));
    }

    [TestCase("a\n{% if x %}", 2, "endif")]
    [TestCase("{{ x", 1, "end of print statement")]
    [TestCase("\n\n{% foo %}", 3, "foo")]
    [TestCase("{% for x y %}{% endfor %}", 1, "expected token 'in', got 'y'")]
    [TestCase("{% if x %}{% endfor %}", 1, "'elif' or 'else' or 'endif'")]
    [TestCase("{{ x | nosuch }}", 1, "No filter named 'nosuch'")]
    [TestCase("{{ x is nosuch }}", 1, "No test named 'nosuch'")]
    [TestCase("{{ (1 }}", 1, "expected ')'")]
    [TestCase("{{ 'abc }}", 1, "not closed")]
    [TestCase("{# abc", 1, "#}")]
    [TestCase("{% raw %}\n\n", 1, "endraw")]
    [TestCase("{% break %}", 1, "outside loop")]
    [TestCase("\n{% macro f(a, a) %}{% endmacro %}", 2, "duplicate argument 'a'")]
    [TestCase("{% call(a, a) f() %}{% endcall %}", 1, "duplicate argument 'a'")]
    [TestCase("{{ dict(a=1, a=2) }}", 1, "keyword argument repeated: a")]
    [TestCase("{% for x in [1] %}{% set loop = 1 %}{% endfor %}", 1, "loop")]
    [TestCase("{% for loop in [1] %}{% endfor %}", 1, "loop")]
    [TestCase("{% include 'x' %}", 1, "'include' is not supported")]
    [TestCase("{% import 'x' as y %}", 1, "'import' is not supported")]
    [TestCase("{% extends 'x' %}", 1, "'extends' is not supported")]
    public void Parse_BadTemplate_NamesLineAndWhatWasExpected(string template, int line, string part)
    {
        ChatTemplateException error = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(template))!;

        Assert.That((error.Fault, error.Line), Is.EqualTo((ChatTemplateFault.Syntax, (int?)line)));
        Assert.That(error.Message, Does.Contain(part));
    }
}
