using System.Runtime.InteropServices;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Reading of safetensors files, sound and broken.</summary>
public sealed class SafetensorsFileTests
{
    private string _path = "";

    [SetUp]
    public void MakeFile() => _path = Path.GetTempFileName();

    [TearDown]
    public void RemoveFile() => File.Delete(_path);

    [Test]
    public void Open_SoundFile_ListsAndReadsTensors()
    {
        SafetensorsWriter.Write(_path, ("a", [2, 3], [1, 2, 3, 4, 5, 6]), ("b", [2], [7, 8]), ("empty", [0, 3], []));
        using SafetensorsFile file = SafetensorsFile.Open(_path);
        float[] rows = new float[4], vector = new float[2];
        file.Read(file.Tensors["a"], 2 * sizeof(float), MemoryMarshal.AsBytes(rows.AsSpan()));
        file.Read(file.Tensors["b"], 0, MemoryMarshal.AsBytes(vector.AsSpan()));
        Assert.Multiple(() =>
        {
            Assert.That(file.Tensors.Keys, Is.EquivalentTo(new[] { "a", "b", "empty" }));
            Assert.That(file.Tensors["a"].Shape, Is.EqualTo(new long[] { 2, 3 }));
            Assert.That(rows, Is.EqualTo(new[] { 3f, 4, 5, 6 }));
            Assert.That(vector, Is.EqualTo(new[] { 7f, 8 }));
        });
    }

    [Test]
    public void Open_UnalignedData_IsRead()
    {
        SafetensorsWriter.WriteRaw(_path, """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} """, BitConverter.GetBytes(2.5f));
        using SafetensorsFile file = SafetensorsFile.Open(_path);
        float[] value = new float[1];
        file.Read(file.Tensors["a"], 0, MemoryMarshal.AsBytes(value.AsSpan()));
        Assert.That(value[0], Is.EqualTo(2.5f));
    }

    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4, "'a'", "8 bytes", TestName = "Open_WrongSize_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 4, "'a'", "has only 4", TestName = "Open_Truncated_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 8, "8 bytes of data", "take 4", TestName = "Open_Rest_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}""", 6, "'b'", "overlaps", TestName = "Open_Overlap_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}""", 12, "'b'", "hole", TestName = "Open_Hole_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", 4, "'a'", "[4, 0]", TestName = "Open_OffsetsBackwards_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4, "'a'", "range", TestName = "Open_ThreeOffsets_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "'a'", "shape", TestName = "Open_NegativeShape_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""", 4, "'a'", "shape", TestName = "Open_FractionalShape_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,4]}}""", 4, "'a'", "larger", TestName = "Open_OverflowingShape_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1]}}""", 4, "'a'", "data_offsets", TestName = "Open_NoOffsets_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "'a'", "twice", TestName = "Open_DuplicateName_Explains")]
    [TestCase("""{"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}}""", 4, "'a'", "'dtype' twice", TestName = "Open_DuplicateType_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,4]}}""", 4, "'a'", "'shape' twice", TestName = "Open_DuplicateShape_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8],"data_offsets":[0,4]}}""", 4, "'a'", "'data_offsets' twice", TestName = "Open_DuplicateOffsets_Explains")]
    [TestCase("""{"a":{"dtype":5,"shape":[1],"data_offsets":[0,4]}}""", 4, "header", "Number", TestName = "Open_TypeNotText_Explains")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]""", 4, "header", "get it again", TestName = "Open_HeaderCut_Explains")]
    [TestCase("""{"__metadata__":{"x":1}}""", 0, "header", "String", TestName = "Open_MetadataNotText_Explains")]
    [TestCase("[]", 0, "header", "'{'", TestName = "Open_HeaderNotObject_Explains")]
    [TestCase("""{"a":7}""", 0, "header", "StartObject", TestName = "Open_TensorNotObject_Explains")]
    public void Open_BrokenFile_Explains(string header, int dataBytes, string names, string says)
    {
        SafetensorsWriter.WriteRaw(_path, header, new byte[dataBytes]);
        AssertExplained(names, says);
    }

    [Test]
    public void Open_MetadataNull_IsNone()
    {
        SafetensorsWriter.WriteRaw(_path, """{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", new byte[4]);
        using SafetensorsFile file = SafetensorsFile.Open(_path);
        Assert.That(file.Tensors.Keys, Is.EqualTo((string[])["a"]));
    }

    [TestCase(0)]
    [TestCase(7)]
    public void Open_NoHeaderLength_Explains(int bytes)
    {
        File.WriteAllBytes(_path, new byte[bytes]);
        AssertExplained($"{bytes} bytes", "too few");
    }

    [TestCase(100_000_001, "limit")]
    [TestCase(-1, "limit")]
    [TestCase(1000, "incomplete")]
    public void Open_WrongHeaderLength_Explains(long length, string says)
    {
        SafetensorsWriter.WriteRaw(_path, "{}", [], length);
        AssertExplained("header claims", says);
    }

    [Test]
    public void Open_OtherTypes_AreListed()
    {
        SafetensorsWriter.WriteRaw(_path, """{"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"f":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[8,10]},"new":{"dtype":"Q3","shape":[5],"data_offsets":[10,13]}}""", new byte[13]);
        using SafetensorsFile file = SafetensorsFile.Open(_path);
        Assert.That(file.Tensors.Values.Select(tensor => tensor.TryGetType(out _)), Is.All.False);
    }

    [Test]
    public void Open_EveryPrefixOfAFile_ExplainsOrReads()
    {
        SafetensorsWriter.Write(_path, ("a", [2], [1, 2]));
        byte[] whole = File.ReadAllBytes(_path);
        for (int length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(_path, whole[..length]);
            Assert.That(() => SafetensorsFile.Open(_path), Throws.InstanceOf<ModelLoadException>(), $"{length} of {whole.Length} bytes");
        }
    }

    [Test]
    public void Open_AnyByteOfTheHeaderChanged_ExplainsOrReads()
    {
        SafetensorsWriter.Write(_path, ("a", [2], [1, 2]));
        byte[] whole = File.ReadAllBytes(_path);
        Random random = new(1);
        for (int i = 0; i < whole.Length - 8; i++)
        {
            byte[] changed = [.. whole];
            changed[i] = (byte)random.Next(256);
            File.WriteAllBytes(_path, changed);
            try
            {
                SafetensorsFile.Open(_path).Dispose();
            }
            catch (ModelLoadException exception)
            {
                Assert.That(exception.Message, Does.Contain(_path));
            }
        }
    }

    private void AssertExplained(string names, string says) =>
        Assert.That(() => SafetensorsFile.Open(_path), Throws.InstanceOf<ModelLoadException>().With.Message.Contains(_path).And.Message.Contains(names).And.Message.Contains(says));
}
