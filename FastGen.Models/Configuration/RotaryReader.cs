namespace FastGen.Models;

/// <summary>Reads the rotary part of config.json in both of its forms: rope_theta and rope_scaling, or rope_parameters.</summary>
internal static class RotaryReader
{
    private const string SupportedTypes = "default, linear, dynamic, yarn, llama3, longrope";

    /// <summary>The scheme that the configuration asks for.</summary>
    /// <param name="json">config.json.</param>
    /// <param name="headDim">Columns of one head.</param>
    /// <param name="maxContext">max_position_embeddings.</param>
    /// <param name="defaults">The family's defaults.</param>
    public static RotaryScaling Read(ConfigReader json, int headDim, int maxContext, FamilyDefaults defaults)
    {
        RotaryScaling scaling = ReadScheme(json, headDim, maxContext, defaults);
        bool isFinite = double.IsFinite(scaling.AttentionFactor);
        for (int section = 0; section < scaling.Sections; section++)
        {
            foreach (int position in (int[])[0, maxContext]) isFinite &= Array.TrueForAll(scaling.Frequencies(section, position), double.IsFinite);
        }
        if (isFinite) return scaling;
        throw new ModelLoadException($"{json.File}: the rotary parameters (rope_theta {scaling.Theta}, {scaling.Dimensions} rotary dimensions) give frequencies that are not finite; get the model's own file again.");
    }

    private static RotaryScaling ReadScheme(ConfigReader json, int headDim, int maxContext, FamilyDefaults defaults)
    {
        // transformers takes an old field that says something before the new one.
        ConfigReader? scaling = json.ObjectOrNull("rope_scaling") is { IsEmpty: false } old ? old : json.ObjectOrNull("rope_parameters");
        if (scaling is { } nested && nested.Has("full_attention", "sliding_attention"))
        {
            throw json.Unsupported(nested.Path.TrimEnd('.'), "one set of rotary parameters for all layers");
        }
        double theta = scaling?.PositiveOrNull("rope_theta") ?? json.PositiveOrNull("rope_theta") ?? defaults.Theta;
        int dimensions = RotatedDimensions(json, scaling, headDim, defaults);
        string type = scaling?.TextOrNull("rope_type", "type") ?? "default";
        if (scaling is not { } parameters || type == "default") return new RotaryScaling(theta, dimensions);

        // Phi-3 called longrope "su" and "yarn" before it had its name.
        if (type is "su" || (type is "yarn" && parameters.Has("long_factor"))) type = "longrope";
        return type switch
        {
            "linear" => new LinearRotaryScaling(theta, dimensions, parameters.Positive("factor")),
            // Its base grows with the power dimensions / (dimensions - 2).
            "dynamic" when dimensions < 4 => throw parameters.Wrong(parameters.Has("rope_type") ? "rope_type" : "type", $"another than dynamic for {dimensions} rotary dimensions"),
            "dynamic" => new DynamicRotaryScaling(theta, dimensions, parameters.Positive("factor"), maxContext),
            "llama3" => ReadLlama3(parameters, theta, dimensions, OriginalContext(json, parameters) ?? maxContext),
            "yarn" => ReadYarn(parameters, theta, dimensions, maxContext, OriginalContext(json, parameters) ?? maxContext),
            "longrope" => ReadLong(parameters, theta, dimensions, maxContext, LongOriginalContext(json, parameters, defaults) ?? maxContext, dropsCache: defaults.OriginalContext is not null),
            _ => throw parameters.Unsupported(parameters.Has("rope_type") ? "rope_type" : "type", SupportedTypes),
        };
    }

    private static int RotatedDimensions(ConfigReader json, ConfigReader? scaling, int headDim, FamilyDefaults defaults)
    {
        double? given = scaling?.PositiveOrNull("partial_rotary_factor") ?? json.PositiveOrNull("partial_rotary_factor", "rotary_pct");
        double fraction = given ?? defaults.RotaryFraction ?? 1;
        if (fraction > 1) throw json.Wrong("partial_rotary_factor", "at most 1");
        if (fraction != 1 && defaults.RotaryFraction is null) throw json.Unsupported("partial_rotary_factor", "1 for this family");
        int dimensions = (int)(headDim * fraction);
        if (dimensions < 2 || dimensions % 2 != 0)
        {
            throw new ModelLoadException($"{json.File}: the rotary part of a head has {dimensions} of {headDim} dimensions (head_dim · partial_rotary_factor), but must have an even number of 2 or more.");
        }
        return dimensions;
    }

    // transformers prefers the field of the model to the one of the rotary parameters.
    private static int? OriginalContext(ConfigReader json, ConfigReader parameters) =>
        json.SizeOrNull("original_max_position_embeddings") ?? parameters.SizeOrNull("original_max_position_embeddings");

    // Phi-3's class always has the field of the model.
    private static int? LongOriginalContext(ConfigReader json, ConfigReader parameters, FamilyDefaults defaults) =>
        defaults.OriginalContext is { } original ? json.SizeOrNull("original_max_position_embeddings") ?? original : OriginalContext(json, parameters);

    private static Llama3RotaryScaling ReadLlama3(ConfigReader parameters, double theta, int dimensions, int original)
    {
        double low = parameters.Positive("low_freq_factor"), high = parameters.Positive("high_freq_factor");
        if (high <= low) throw parameters.Wrong("high_freq_factor", $"more than low_freq_factor ({low})");
        return new Llama3RotaryScaling(theta, dimensions, parameters.Positive("factor"), low, high, original);
    }

    private static YarnRotaryScaling ReadYarn(ConfigReader parameters, double theta, int dimensions, int maxContext, int original)
    {
        double factor = parameters.PositiveOrNull("factor") ?? (double)maxContext / original;
        double? scale = parameters.FloatOrNull("mscale"), scaleAll = parameters.FloatOrNull("mscale_all_dim");
        double suggested = scale > 0 && scaleAll > 0
            ? YarnRotaryScaling.TemperatureFor(factor, scale.Value) / YarnRotaryScaling.TemperatureFor(factor, scaleAll.Value)
            : YarnRotaryScaling.TemperatureFor(factor);
        return new YarnRotaryScaling(theta, dimensions, factor, original,
            parameters.PositiveOrNull("beta_fast") ?? 32, parameters.PositiveOrNull("beta_slow") ?? 1,
            parameters.Flag("truncate", true), parameters.PositiveOrNull("attention_factor") ?? suggested);
    }

    private static LongRotaryScaling ReadLong(ConfigReader parameters, double theta, int dimensions, int maxContext, int original, bool dropsCache)
    {
        double factor = parameters.PositiveOrNull("factor") ?? (double)maxContext / original;
        double temperature = factor <= 1 ? 1 : Math.Sqrt(1 + (Math.Log(factor) / Math.Log(original)));
        return new LongRotaryScaling(theta, dimensions, parameters.Positives("short_factor", dimensions / 2), parameters.Positives("long_factor", dimensions / 2),
            original, parameters.PositiveOrNull("attention_factor") ?? temperature, dropsCache);
    }
}
