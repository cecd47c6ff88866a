using System.Text;
using Microsoft.ML.Tokenizers;

namespace FastGen.Tests;

/// <summary>Tokenizers of Microsoft.ML.Tokenizers in place of the model's own.</summary>
public sealed class OtherTokenizerTests
{
    [Test]
    public void AddSpecialTokens_SentencePieceTokenizer_IsObeyed()
    {
        using MemoryStream model = new(SentencePieceModel());
        LlamaTokenizer tokenizer = LlamaTokenizer.Create(model);
        using Pipeline pipeline = Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Device = ComputeDevice.Cpu, Tokenizer = tokenizer, Engine = new EngineOptions { TokenBudget = 32, CacheTokens = 512 } });
        SamplingParameters one = SamplingParameters.Greedy with { MaxNewTokens = 1 };
        Assert.That(pipeline.Generate("aa", one).PromptTokens, Is.EqualTo(4), "<s>, the leading space and two letters");
        Assert.That(pipeline.Generate(Prompt.FromText("aa", addSpecialTokens: false), one).PromptTokens, Is.EqualTo(3));
    }

    private static byte[] SentencePieceModel()
    {
        static byte[] Field(int number, byte[] content) => [(byte)((number << 3) | 2), (byte)content.Length, .. content];
        static byte[] Piece(string text, byte type) => Field(1, [.. Field(1, Encoding.UTF8.GetBytes(text)), 0x15, 0, 0, 0, 0, 0x18, type]);
        return [.. Piece("<unk>", 2), .. Piece("<s>", 3), .. Piece("</s>", 3), .. Piece("\u2581", 1), .. Piece("a", 1), .. Field(2, [0x18, 2]), .. Field(3, [])];
    }
}
