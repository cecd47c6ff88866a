namespace FastGen;

/// <summary>A request failed while it ran; other requests go on unless the message says otherwise.</summary>
public sealed class GenerationException : Exception
{
    /// <summary>Makes the exception.</summary>
    public GenerationException()
    {
    }

    /// <summary>Makes the exception with a message.</summary>
    public GenerationException(string message) : base(message)
    {
    }

    /// <summary>Makes the exception with a message and its cause.</summary>
    public GenerationException(string message, Exception innerException) : base(message, innerException)
    {
    }
}

/// <summary>
/// The device can no longer be used: every request fails with this, those that run and those that come, and the engine takes no more. After a CUDA fault the
/// process has to be started anew to use the device.
/// </summary>
public sealed class DeviceLostException : Exception
{
    /// <summary>Makes the exception.</summary>
    public DeviceLostException()
    {
    }

    /// <summary>Makes the exception with a message.</summary>
    public DeviceLostException(string message) : base(message)
    {
    }

    /// <summary>Makes the exception with a message and its cause.</summary>
    public DeviceLostException(string message, Exception innerException) : base(message, innerException)
    {
    }
}
