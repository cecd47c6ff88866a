using System.Text.Json.Nodes;
using FastGen.Models;
using FastGen.Samples;
using Microsoft.Extensions.AI;
using FrameworkMessage = Microsoft.Extensions.AI.ChatMessage;

namespace FastGen.Tests;

/// <summary>Conversations through the default model with a chat template put beside it, by the pipeline and by the sample's <see cref="IChatClient"/>.</summary>
public sealed class ChatTests
{
    private const string Template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}{% if tools %}[{{ tools | length }}]{% endif %}{% if add_generation_prompt %}Once{% endif %}";

    private static readonly SamplingParameters Short = SamplingParameters.Greedy with { MaxNewTokens = 24 };

    private static readonly ChatMessage[] Conversation = [new("system", "Be kind."), new("user", "Tell me a story.")];

    private TemporaryFolder _folder = null!;
    private Pipeline _pipeline = null!;

    [OneTimeSetUp]
    public void Load()
    {
        _folder = new TemporaryFolder();
        foreach (string file in Directory.EnumerateFiles(DefaultModel.Folder)) File.Copy(file, Path.Combine(_folder.Path, Path.GetFileName(file)));
        File.WriteAllText(Path.Combine(_folder.Path, "chat_template.jinja"), Template);
        _pipeline = Pipeline.Load(_folder.Path, new PipelineOptions { Device = ComputeDevice.Cpu, Engine = new EngineOptions { TokenBudget = 64, CacheTokens = 4096 } });
    }

    [OneTimeTearDown]
    public void Free()
    {
        _pipeline.Dispose();
        _folder.Dispose();
    }

    [TearDown]
    public void NothingIsLeft() => LlmEngineTests.AssertIdle(_pipeline.Engine);

    [Test]
    public async Task Chat_Conversation_AnswersTheTemplatesPrompt()
    {
        GenerationResult expected = _pipeline.Generate(Prompt.FromText("<system>Be kind.\n<user>Tell me a story.\nOnce", addSpecialTokens: false), Short);
        Assert.That(_pipeline.Chat(Conversation, Short).TokenIds, Is.EqualTo(expected.TokenIds));
        Assert.That((await _pipeline.ChatAsync(Conversation, Short)).Text, Is.EqualTo(expected.Text).And.Not.Empty);
        string text = "";
        await foreach (GenerationPiece piece in _pipeline.ChatStreamAsync(Conversation, Short)) text += piece.Text;
        Assert.That(text, Is.EqualTo(expected.Text));
    }

    [Test]
    public void ChatTemplate_RelativeFolderAndADifferentCurrentOneLater_IsFound()
    {
        string current = Environment.CurrentDirectory;
        try
        {
            Environment.CurrentDirectory = _folder.Path;
            using Pipeline pipeline = Pipeline.Load(".", new PipelineOptions { Device = ComputeDevice.Cpu, Engine = new EngineOptions { TokenBudget = 64, CacheTokens = 512 } });
            Environment.CurrentDirectory = Path.GetTempPath();
            Assert.That(pipeline.ChatTemplate?.Source, Is.EqualTo(Template));
        }
        finally
        {
            Environment.CurrentDirectory = current;
        }
    }

    [Test]
    public void ToPrompt_ToolsAndNoGenerationPrompt_ReachTheTemplate()
    {
        JsonArray tools = [new JsonObject { ["type"] = "function", ["function"] = new JsonObject { ["name"] = "look" } }];
        Assert.That(_pipeline.ToPrompt([new("user", "Hi")], new ChatTemplateOptions { Tools = tools, AddGenerationPrompt = false }).Text, Is.EqualTo("<user>Hi\n[1]"));
    }

    [Test]
    public async Task ChatClient_Conversation_AnswersAsThePipeline()
    {
        using PipelineChatClient client = new(_pipeline, "stories");
        ChatOptions options = new() { Instructions = "Be kind.", Temperature = 0, MaxOutputTokens = 24 };
        FrameworkMessage[] messages = [new(ChatRole.User, "Tell me a story.")];
        GenerationResult expected = _pipeline.Chat(Conversation, Short);

        ChatResponse response = await client.GetResponseAsync(messages, options);
        Assert.That(response.Text, Is.EqualTo(expected.Text));
        Assert.That(response.FinishReason, Is.EqualTo(ChatFinishReason.Length));
        Assert.That(response.Usage!.InputTokenCount, Is.EqualTo(expected.PromptTokens));
        Assert.That(response.Usage.OutputTokenCount, Is.EqualTo(24));

        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(messages, options)) updates.Add(update);
        ChatResponse streamed = updates.ToChatResponse();
        Assert.That(streamed.Text, Is.EqualTo(expected.Text));
        Assert.That(streamed.Messages, Has.Count.EqualTo(1));
        Assert.That(streamed.Usage!.TotalTokenCount, Is.EqualTo(expected.PromptTokens + 24));
        Assert.That(updates[^1].FinishReason, Is.EqualTo(ChatFinishReason.Length));
    }

    [Test]
    public async Task ChatClient_OptionsOfItsOwn_AreTheBase()
    {
        using PipelineChatClient client = new(_pipeline, "stories");
        ChatOptions options = new() { RawRepresentationFactory = _ => Short with { MaxNewTokens = 5 }, StopSequences = ["."] };
        ChatResponse response = await client.GetResponseAsync("Tell me a story.", options);
        Assert.That(response.Usage!.OutputTokenCount, Is.LessThanOrEqualTo(5));
        Assert.That(client.GetService<Pipeline>(), Is.SameAs(_pipeline));
        Assert.That(client.GetService<ChatClientMetadata>()!.DefaultModelId, Is.EqualTo("stories"));
    }

    [Test]
    public void ChatClient_WhatItCannotDo_IsRefusedByName()
    {
        using PipelineChatClient client = new(_pipeline, "stories");
        Assert.That(() => client.GetResponseAsync("Hi", new ChatOptions { ResponseFormat = ChatResponseFormat.Json }), Throws.TypeOf<NotSupportedException>().With.Message.Contains(nameof(ChatOptions.ResponseFormat)));
        Assert.That(() => client.GetResponseAsync("Hi", new ChatOptions { Reasoning = new ReasoningOptions { Effort = ReasoningEffort.High } }), Throws.TypeOf<NotSupportedException>().With.Message.Contains(nameof(ChatOptions.Reasoning)));
        Assert.That(() => client.GetResponseAsync("Hi", new ChatOptions { ConversationId = "7" }), Throws.TypeOf<NotSupportedException>().With.Message.Contains(nameof(ChatOptions.ConversationId)));
        Assert.That(() => client.GetResponseAsync(new FrameworkMessage(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")])), Throws.TypeOf<NotSupportedException>().With.Message.Contains(nameof(DataContent)));
    }

    [Test]
    public void ChatClient_Cancelled_EndsTheRequest()
    {
        using PipelineChatClient client = new(_pipeline, "stories");
        using CancellationTokenSource cancelled = new();
        cancelled.Cancel();
        Assert.That(() => client.GetResponseAsync("Hi", cancellationToken: cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
    }
}
