namespace FastGen.Models.Tokenizers;

/// <summary>Adds the special tokens around a text's ids.</summary>
internal abstract class PostProcessor
{
    /// <summary>The ids with special tokens added.</summary>
    public abstract List<int> AddSpecialTokens(List<int> ids);
}

/// <summary>Several post-processors, one after the other.</summary>
internal sealed class SequencePostProcessor(IReadOnlyList<PostProcessor> processors) : PostProcessor
{
    /// <inheritdoc/>
    public override List<int> AddSpecialTokens(List<int> ids)
    {
        foreach (PostProcessor processor in processors) ids = processor.AddSpecialTokens(ids);
        return ids;
    }
}

/// <summary>
/// Fixed tokens around the text: <c>TemplateProcessing</c>, <c>BertProcessing</c>, <c>RobertaProcessing</c>. A null part of the
/// template is where the text goes.
/// </summary>
internal sealed class TemplatePostProcessor(IReadOnlyList<int[]?> parts) : PostProcessor
{
    /// <inheritdoc/>
    public override List<int> AddSpecialTokens(List<int> ids)
    {
        List<int> result = new(ids.Count + parts.Count);
        foreach (int[]? part in parts)
        {
            if (part is null) result.AddRange(ids);
            else result.AddRange(part);
        }
        return result;
    }
}
