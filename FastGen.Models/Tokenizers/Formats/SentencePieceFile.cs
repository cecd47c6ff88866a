using System.Buffers.Binary;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>What a piece of a SentencePiece model is; the numbers are those of its protocol buffer.</summary>
internal enum PieceType
{
    /// <summary>A piece of text.</summary>
    Normal = 1,

    /// <summary>The unknown token.</summary>
    Unknown = 2,

    /// <summary>A special token.</summary>
    Control = 3,

    /// <summary>A piece that is never cut.</summary>
    UserDefined = 4,

    /// <summary>A piece that is not used.</summary>
    Unused = 5,

    /// <summary>One byte.</summary>
    Byte = 6,
}

/// <summary>A piece, its score and its type; its place in the file is its id.</summary>
internal readonly record struct SentencePiece(string Text, float Score, PieceType Type);

/// <summary>
/// A SentencePiece model (<c>tokenizer.model</c>), a protocol buffer of Google's sentencepiece project, as far as tokenizing needs it.
/// </summary>
internal sealed class SentencePieceFile
{
    private const int UnigramType = 1, BytePairType = 2;

    private readonly string _path;

    private SentencePieceFile(string path) => _path = path;

    /// <summary>The pieces by id.</summary>
    public List<SentencePiece> Pieces { get; } = [];

    /// <summary>True for byte-pair encoding, false for a unigram model.</summary>
    public bool IsBytePair { get; private set; }

    /// <summary>A character without piece becomes the pieces of its bytes.</summary>
    public bool ByteFallback { get; private set; }

    /// <summary>A space is put before the text.</summary>
    public bool AddDummyPrefix { get; private set; } = true;

    /// <summary>Runs of spaces become one, and those at the ends vanish.</summary>
    public bool RemoveExtraWhiteSpace { get; private set; } = true;

    /// <summary>The compiled character map; empty for none.</summary>
    public byte[] CharacterMap { get; private set; } = [];

    /// <summary>Reads the file.</summary>
    public static SentencePieceFile Read(string path, ReadOnlySpan<byte> content)
    {
        SentencePieceFile file = new(path);
        int modelType = UnigramType;
        Message model = new(path, "the model", content);
        while (model.MoveNext())
        {
            switch (model.Field)
            {
                case 1:
                    file.Pieces.Add(file.ReadPiece(model.Bytes));
                    break;
                case 2:
                    modelType = file.ReadTrainerSpec(model.Bytes);
                    break;
                case 3:
                    file.ReadNormalizerSpec(model.Bytes);
                    break;
            }
        }
        if (modelType is not (UnigramType or BytePairType)) throw new TokenizerFileException(path, "trainer_spec.model_type", $"must be 1 (unigram) or 2 (BPE); it is {modelType}");
        if (file.Pieces.Count == 0) throw new TokenizerFileException(path, "pieces", "is empty");
        file.IsBytePair = modelType == BytePairType;
        return file;
    }

    private SentencePiece ReadPiece(ReadOnlySpan<byte> bytes)
    {
        string field = $"pieces[{Pieces.Count}]";
        Message message = new(_path, field, bytes);
        (string text, float score, long type) = ("", 0, (long)PieceType.Normal);
        while (message.MoveNext())
        {
            switch (message.Field)
            {
                case 1:
                    text = Encoding.UTF8.GetString(message.Bytes);
                    break;
                case 2:
                    score = BitConverter.Int32BitsToSingle((int)message.Number);
                    break;
                case 3:
                    type = message.Number;
                    break;
            }
        }
        return new SentencePiece(text, score, (PieceType)type);
    }

    private int ReadTrainerSpec(ReadOnlySpan<byte> bytes)
    {
        int modelType = UnigramType;
        Message message = new(_path, "trainer_spec", bytes);
        while (message.MoveNext())
        {
            if (message.Field == 3) modelType = (int)message.Number;
            if (message.Field == 35) ByteFallback = message.Number != 0;
        }
        return modelType;
    }

    private void ReadNormalizerSpec(ReadOnlySpan<byte> bytes)
    {
        Message message = new(_path, "normalizer_spec", bytes);
        while (message.MoveNext())
        {
            if (message.Field == 2) CharacterMap = message.Bytes.ToArray();
            if (message.Field == 3) AddDummyPrefix = message.Number != 0;
            if (message.Field == 4) RemoveExtraWhiteSpace = message.Number != 0;
        }
    }

    /// <summary>The fields of one message of a protocol buffer, one after the other.</summary>
    private ref struct Message(string path, string name, ReadOnlySpan<byte> content)
    {
        private ReadOnlySpan<byte> _rest = content;

        /// <summary>The number of the field.</summary>
        public int Field { get; private set; }

        /// <summary>The field's value, if it is a number.</summary>
        public long Number { get; private set; }

        /// <summary>The field's value, if it is bytes, a text or a message.</summary>
        public ReadOnlySpan<byte> Bytes { get; private set; }

        public bool MoveNext()
        {
            if (_rest.IsEmpty) return false;
            long key = ReadVarint();
            Field = (int)(key >> 3);
            Bytes = default;
            Number = 0;
            switch (key & 7)
            {
                case 0:
                    Number = ReadVarint();
                    break;
                case 1:
                    Number = BinaryPrimitives.ReadInt64LittleEndian(Take(8));
                    break;
                case 2:
                    Bytes = Take(ReadVarint());
                    break;
                case 5:
                    Number = BinaryPrimitives.ReadInt32LittleEndian(Take(4));
                    break;
                default:
                    throw Fault($"has a field of the unknown wire type {key & 7}");
            }
            return true;
        }

        private long ReadVarint()
        {
            long value = 0;
            for (int shift = 0; shift < 64; shift += 7)
            {
                byte next = Take(1)[0];
                value |= (long)(next & 0x7F) << shift;
                if (next < 0x80) return value;
            }
            throw Fault("has a number that is too long");
        }

        private ReadOnlySpan<byte> Take(long count)
        {
            if (count < 0 || count > _rest.Length) throw Fault($"is truncated: {count} bytes are needed where {_rest.Length} are left");
            ReadOnlySpan<byte> taken = _rest[..(int)count];
            _rest = _rest[(int)count..];
            return taken;
        }

        private readonly TokenizerFileException Fault(string problem) => new(path, name, $"{problem}; is the file a SentencePiece model?");
    }
}
