namespace FastGen.Kernels;

/// <summary>Two buffers, in turn, for weights on their way to a backend on the processor; kept until the model is loaded.</summary>
internal sealed class UploadBuffers
{
    private readonly byte[][] _buffers = [[], []];
    private int _next;

    public Memory<byte> Get(int bytes)
    {
        _next ^= 1;
        ref byte[] buffer = ref _buffers[_next];
        if (buffer.Length < bytes) buffer = GC.AllocateUninitializedArray<byte>(bytes);
        return buffer.AsMemory(0, bytes);
    }

    public void Release() => (_buffers[0], _buffers[1]) = ([], []);
}
