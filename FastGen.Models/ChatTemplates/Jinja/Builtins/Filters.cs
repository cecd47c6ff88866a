using System.Collections.Frozen;

namespace FastGen.Models.Jinja;

/// <summary>A filter: gives a new value for <paramref name="value"/>.</summary>
internal delegate object? Filter(Interpreter interpreter, object? value, CallArguments arguments);

/// <summary>
/// Jinja's built-in filters by name, with <c>tojson</c> as Hugging Face transformers redefines it. Left out are those without a use in a prompt:
/// <c>filesizeformat</c>, <c>pprint</c>, <c>random</c>, <c>urlize</c>, <c>wordwrap</c> and <c>xmlattr</c>.
/// </summary>
internal static class Filters
{
    public static readonly FrozenDictionary<string, Filter> Table = new Dictionary<string, Filter>
    {
        ["abs"] = NumberFilters.Abs,
        ["attr"] = SequenceFilters.Attribute,
        ["batch"] = GroupingFilters.Batch,
        ["capitalize"] = TextFilters.Method("capitalize"),
        ["center"] = TextFilters.Center,
        ["count"] = SequenceFilters.Length,
        ["d"] = SequenceFilters.Default,
        ["default"] = SequenceFilters.Default,
        ["dictsort"] = SortingFilters.DictSort,
        ["e"] = TextFilters.Escape,
        ["escape"] = TextFilters.Escape,
        ["first"] = SequenceFilters.First,
        ["float"] = NumberFilters.Float,
        ["forceescape"] = TextFilters.ForceEscape,
        ["format"] = TextFilters.Format,
        ["groupby"] = GroupingFilters.GroupBy,
        ["indent"] = TextFilters.Indent,
        ["int"] = NumberFilters.Int,
        ["items"] = SequenceFilters.Items,
        ["join"] = SequenceFilters.Join,
        ["last"] = SequenceFilters.Last,
        ["length"] = SequenceFilters.Length,
        ["list"] = SequenceFilters.List,
        ["lower"] = TextFilters.Method("lower"),
        ["map"] = SelectionFilters.Map,
        ["max"] = SortingFilters.Max,
        ["min"] = SortingFilters.Min,
        ["reject"] = SelectionFilters.Select(keep: false, byAttribute: false),
        ["rejectattr"] = SelectionFilters.Select(keep: false, byAttribute: true),
        ["replace"] = TextFilters.Replace,
        ["reverse"] = SequenceFilters.Reverse,
        ["round"] = NumberFilters.Round,
        ["safe"] = (interpreter, value, _) => new Markup(PythonText.Str(value, interpreter.Budget)),
        ["select"] = SelectionFilters.Select(keep: true, byAttribute: false),
        ["selectattr"] = SelectionFilters.Select(keep: true, byAttribute: true),
        ["slice"] = GroupingFilters.Slice,
        ["sort"] = SortingFilters.Sort,
        ["string"] = (interpreter, value, _) => TextFilters.SoftText(value, interpreter.Budget),
        ["striptags"] = TextFilters.StripTags,
        ["sum"] = NumberFilters.Sum,
        ["title"] = TextFilters.Title,
        ["tojson"] = PythonJson.Serialize,
        ["trim"] = TextFilters.Method("strip"),
        ["truncate"] = TextFilters.Truncate,
        ["unique"] = SortingFilters.Unique,
        ["upper"] = TextFilters.Method("upper"),
        ["urlencode"] = TextFilters.UrlEncode,
        ["wordcount"] = TextFilters.WordCount,
    }.ToFrozenDictionary();
}
