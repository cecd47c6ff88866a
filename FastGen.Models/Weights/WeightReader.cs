using System.Globalization;
using FastGen.Compute;

namespace FastGen.Models;

/// <summary>
/// A place in a checkpoint's tree of names: <c>reader["self_attn"].Linear("o_proj", …)</c> reads "….self_attn.o_proj.weight".
/// Layouts are repaired here, so that layers and kernels see one form only.
/// </summary>
internal readonly record struct WeightReader(WeightLoader Loader, string Prefix = "")
{
    /// <summary>The backend that weights are loaded into.</summary>
    public IBackend Backend => Loader.Backend;

    /// <summary>Storage of the matrices as loaded.</summary>
    public DType Type => Loader.MatrixType;

    /// <summary>One level down.</summary>
    public WeightReader this[string name] => this with { Prefix = Path(name) };

    /// <summary>One level down.</summary>
    public WeightReader this[int index] => this[index.ToString(CultureInfo.InvariantCulture)];

    /// <summary>One level down where the checkpoint has that level, else here: a base model saved by itself lacks the outer name.</summary>
    public WeightReader Optional(string name) => Loader.Checkpoint.ContainsPrefix(Path(name)) ? this[name] : this;

    /// <summary>One level down by the first of two names that the checkpoint has.</summary>
    public WeightReader Either(string name, string other) => !Loader.Checkpoint.ContainsPrefix(Path(name)) && Loader.Checkpoint.ContainsPrefix(Path(other)) ? this[other] : this[name];

    /// <summary>A matrix that is multiplied by or looked up in, [rows, columns].</summary>
    public Tensor Matrix(string name, int rows, int columns) => Loader.LoadMatrix([RowSpan.All(Path(name) + ".weight", rows)], columns);

    /// <summary>Several matrices with equal columns, one under the other.</summary>
    public Tensor StackedMatrix(IEnumerable<(string Name, int Rows)> parts, int columns)
    {
        WeightReader self = this;
        return Loader.LoadMatrix([.. parts.Select(part => RowSpan.All(self.Path(part.Name) + ".weight", part.Rows))], columns);
    }

    /// <summary>
    /// Matrices of equal size, one under the other, that the checkpoint stores as one tensor [count, rows, columns]; null where it stores them apart.
    /// </summary>
    public Tensor? FusedMatrices(string name, int count, int rows, int columns) => Loader.Checkpoint.TryFind(Path(name), out _)
        ? Loader.LoadMatrix([RowSpan.All(Path(name), checked(count * rows)) with { Groups = count }], columns)
        : null;

    /// <summary>A table that is added, [rows, columns], F32.</summary>
    public Tensor Table(string name, int rows, int columns) => Loader.LoadTable([RowSpan.All(Path(name) + ".weight", rows)], columns);

    /// <summary>A linear map.</summary>
    public LinearWeights Linear(string name, int outputs, int inputs, bool bias = false) => Stacked([(name, outputs)], inputs, bias);

    /// <summary>Several linear maps of the same input as one, their outputs side by side.</summary>
    public LinearWeights Stacked(ReadOnlySpan<(string Name, int Outputs)> parts, int inputs, bool bias = false)
    {
        RowSpan[] weights = new RowSpan[parts.Length], biases = new RowSpan[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            weights[i] = RowSpan.All(Path(parts[i].Name) + ".weight", parts[i].Outputs);
            biases[i] = RowSpan.All(Path(parts[i].Name) + ".bias", parts[i].Outputs);
        }
        return new LinearWeights(Loader.LoadMatrix(weights, inputs), bias ? Loader.LoadVector(biases) : null);
    }

    /// <summary>A linear map whose rows are put into another order.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="outputs">Its rows.</param>
    /// <param name="inputs">Its columns.</param>
    /// <param name="order">Ranges of its rows in the order wanted.</param>
    /// <param name="bias">Whether it has a bias.</param>
    public LinearWeights Reordered(string name, int outputs, int inputs, IReadOnlyList<(int First, int Count)> order, bool bias)
    {
        string path = Path(name);
        RowSpan[] Rows(string suffix) => [.. order.Select(range => new RowSpan(path + suffix, outputs, range.First, range.Count))];
        return new LinearWeights(Loader.LoadMatrix(Rows(".weight"), inputs), bias ? Loader.LoadVector(Rows(".bias")) : null);
    }

    /// <summary>An RMS norm.</summary>
    public NormWeights RmsNorm(string name, int size, float epsilon) => new(NormKind.Rms, Vector(name + ".weight", size), null, epsilon);

    /// <summary>A layer norm.</summary>
    public NormWeights LayerNorm(string name, int size, float epsilon) => new(NormKind.Layer, Vector(name + ".weight", size), Vector(name + ".bias", size), epsilon);

    /// <summary>A layer norm that neither scales nor shifts; what a checkpoint stores for it all the same is left alone.</summary>
    public NormWeights PlainLayerNorm(string name, int size, float epsilon)
    {
        Loader.Disregard(Path(name) + ".weight");
        Loader.Disregard(Path(name) + ".bias");
        return new NormWeights(NormKind.Layer, Loader.Compute(1, size, (_, values) => values.Fill(1)), Loader.Compute(1, size, (_, values) => values.Clear()), epsilon);
    }

    /// <summary>
    /// The output projection. A tied one is the embedding table; a tensor that is stored all the same is taken where it differs, as transformers 5 does.
    /// </summary>
    /// <param name="embedding">The embedding table as loaded.</param>
    /// <param name="embeddingName">Full name of its tensor.</param>
    /// <param name="config">The model.</param>
    /// <param name="bias">Whether it has a bias.</param>
    public LinearWeights Head(Tensor embedding, string embeddingName, ModelConfig config, bool bias = false)
    {
        const string name = "lm_head";
        string path = Path(name);
        if (config.TieWordEmbeddings && !Loader.Differ(path + ".weight", embeddingName))
        {
            return new LinearWeights(embedding, bias ? Loader.LoadVector([RowSpan.All(path + ".bias", config.VocabularySize)]) : null);
        }
        return Linear(name, config.VocabularySize, embedding.Columns, bias);
    }

    /// <summary>Full name of something at this place.</summary>
    public string Path(string name) => Prefix.Length == 0 ? name : $"{Prefix}.{name}";

    private Tensor Vector(string name, int size) => Loader.LoadVector([RowSpan.All(Path(name), size)]);
}
