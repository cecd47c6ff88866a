using FastGen;
using FastGen.Kernels.Cuda;
using FastGen.Models;
using FastGen.Samples;
using Microsoft.Extensions.AI;

if (args is not [string folder])
{
    Console.Error.WriteLine("Give the folder of a model with a chat template: dotnet run -c Release --project samples/Chat -- FOLDER");
    return 1;
}

using Pipeline? pipeline = TryLoad(folder);
if (pipeline is null || !HasTemplate(pipeline, folder)) return 1;

using PipelineChatClient client = new PipelineChatClient(pipeline, Path.GetFileName(Path.GetFullPath(folder)));
ChatOptions options = new() { MaxOutputTokens = 1024 };
List<Microsoft.Extensions.AI.ChatMessage> conversation = [];
Console.WriteLine($"{client.GetService<ChatClientMetadata>()!.DefaultModelId} on {pipeline.Device}. An empty line ends.");
while (true)
{
    Console.Write("> ");
    if (Console.ReadLine() is not { Length: > 0 } line) return 0;
    conversation.Add(new(ChatRole.User, line));
    List<ChatResponseUpdate> updates = [];
    try
    {
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(conversation, options))
        {
            Console.Write(update.Text);
            updates.Add(update);
        }
    }
    catch (Exception exception) when (exception is ArgumentException or ChatTemplateException or GenerationException)
    {
        // Too long for the model's context, say. What has no answer is no part of the conversation.
        Console.Error.WriteLine(exception.Message);
        conversation.RemoveAt(conversation.Count - 1);
        continue;
    }
    Console.WriteLine();
    conversation.AddMessages(updates);
}

static bool HasTemplate(Pipeline pipeline, string folder)
{
    try
    {
        if (pipeline.ChatTemplate is not null) return true;
        Console.Error.WriteLine($"'{folder}' has no chat template: take a model that was trained for chat.");
    }
    catch (ChatTemplateException exception)
    {
        Console.Error.WriteLine(exception.Message);
    }
    return false;
}

static Pipeline? TryLoad(string folder)
{
    try
    {
        return Pipeline.Load(folder);
    }
    catch (Exception exception) when (exception is ModelLoadException or OutOfMemoryException or CudaException)
    {
        Console.Error.WriteLine(exception.Message);
        return null;
    }
}
