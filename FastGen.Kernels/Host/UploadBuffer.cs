namespace FastGen.Kernels;

/// <summary>Memory that weights are read into on their way to a backend on the processor; kept from one to the next, until the model is loaded.</summary>
internal sealed class UploadBuffer
{
    private byte[] _bytes = [];

    public Memory<byte> Get(int bytes)
    {
        if (_bytes.Length < bytes) _bytes = GC.AllocateUninitializedArray<byte>(bytes);
        return _bytes.AsMemory(0, bytes);
    }

    public void Release() => _bytes = [];
}
