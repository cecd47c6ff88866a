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
if (pipeline is null) return 1;
if (pipeline.ChatTemplate is null)
{
    Console.Error.WriteLine($"'{folder}' has no chat template: take a model that was trained for chat.");
    return 1;
}

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
    await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(conversation, options))
    {
        Console.Write(update.Text);
        updates.Add(update);
    }
    Console.WriteLine();
    conversation.AddMessages(updates);
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
