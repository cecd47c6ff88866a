namespace FastGen.Models;

/// <summary>A model folder cannot be loaded. The message names the file, what is wrong in it, and the remedy.</summary>
public class ModelLoadException : Exception
{
    /// <summary>Makes the exception.</summary>
    public ModelLoadException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}

/// <summary>A model asks for something that the library does not do; loading it would give wrong output.</summary>
public sealed class UnsupportedModelException : ModelLoadException
{
    /// <summary>Makes the exception.</summary>
    /// <param name="file">The file that asks for it.</param>
    /// <param name="field">The field or tensor.</param>
    /// <param name="value">Its value.</param>
    /// <param name="supported">What is supported instead.</param>
    public UnsupportedModelException(string file, string field, string value, string supported)
        : base($"{file}: {field} = {value} is not supported; supported: {supported}.")
    {
        Field = field;
        Value = value;
    }

    /// <summary>The field of the configuration, or the tensor, that is not supported.</summary>
    public string Field { get; }

    /// <summary>Its value.</summary>
    public string Value { get; }
}
