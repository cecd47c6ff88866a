namespace FastGen.Models.Tokenizers;

/// <summary>Reads the <c>post_processor</c> of a <c>tokenizer.json</c>, as far as it concerns single texts.</summary>
internal static class PostProcessorReader
{
    /// <summary>The post-processor; null where the file has none or it changes no ids.</summary>
    public static PostProcessor? Read(JsonField field)
    {
        if (!field.IsPresent) return null;
        return field["type"].AsString() switch
        {
            "Sequence" => new SequencePostProcessor([.. field["processors"].Elements().Select(Read).OfType<PostProcessor>()]),
            "TemplateProcessing" => ReadTemplate(field),
            // It moves offsets only.
            "ByteLevel" => null,
            "BertProcessing" or "RobertaProcessing" => new TemplatePostProcessor([ReadIdOfPair(field["cls"]), null, ReadIdOfPair(field["sep"])]),
            _ => throw field["type"].Fault(
                "is not a supported post-processor (supported: Sequence, TemplateProcessing, ByteLevel, BertProcessing, RobertaProcessing)"),
        };
    }

    private static TemplatePostProcessor ReadTemplate(JsonField field)
    {
        List<int[]?> parts = [];
        foreach (JsonField item in field["single"].Elements())
        {
            if (item["Sequence"].IsPresent)
            {
                parts.Add(null);
                continue;
            }
            JsonField token = item["SpecialToken"]["id"];
            JsonField special = field["special_tokens"][token.AsString()];
            if (!special.IsPresent) throw token.Fault($"names a token that is not in {field.Path}.special_tokens");
            parts.Add([.. special["ids"].Elements().Select(id => id.AsCount())]);
        }
        return new TemplatePostProcessor(parts);
    }

    private static int[] ReadIdOfPair(JsonField field)
    {
        JsonField[] pair = [.. field.Elements()];
        return pair.Length == 2 ? [pair[1].AsCount()] : throw field.Fault("must be a pair of a token and its id");
    }
}
