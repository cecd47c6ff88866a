using System.Collections.Frozen;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>A test: whether something holds of <paramref name="value"/>.</summary>
internal delegate bool Test(Interpreter interpreter, object? value, CallArguments arguments);

/// <summary>Jinja's built-in tests by name.</summary>
internal static class Tests
{
    public static readonly FrozenDictionary<string, Test> Table = new Dictionary<string, Test>
    {
        ["defined"] = (_, value, _) => value is not Undefined,
        ["undefined"] = (_, value, _) => value is Undefined,
        ["none"] = (_, value, _) => value is null,
        ["boolean"] = (_, value, _) => value is bool,
        ["true"] = (_, value, _) => value is true,
        ["false"] = (_, value, _) => value is false,
        ["integer"] = (_, value, _) => PythonNumber.IsInteger(value) && value is not bool,
        ["float"] = (_, value, _) => value is double,
        ["number"] = (_, value, _) => PythonNumber.IsNumber(value),
        ["string"] = (_, value, _) => PythonTypes.IsText(value),
        ["mapping"] = (_, value, _) => value is PythonDict,
        ["sequence"] = (_, value, _) => value is string or Markup or PythonList or PythonTuple or PythonDict or PythonRange or Undefined,
        ["iterable"] = (_, value, _) => PythonTypes.TryIterate(value) is not null,
        ["callable"] = (_, value, _) => value is Callable or LoopContext or Undefined,
        ["escaped"] = (_, value, _) => value is Markup,
        ["lower"] = (interpreter, value, _) => TextCase.IsAll(interpreter.Budget.Made(PythonText.Str(value, interpreter.Budget)), Rune.IsLower, Rune.IsUpper),
        ["upper"] = (interpreter, value, _) => TextCase.IsAll(interpreter.Budget.Made(PythonText.Str(value, interpreter.Budget)), Rune.IsUpper, Rune.IsLower),
        ["filter"] = (_, value, _) => PythonTypes.TextOf(value) is string name && Filters.Table.ContainsKey(name),
        ["test"] = (_, value, _) => PythonTypes.TextOf(value) is string name && Table!.ContainsKey(name),
        ["sameas"] = (_, value, arguments) => IsSame(value, arguments.Bind("test_sameas", 1, "other")[0]),
        ["in"] = (interpreter, value, arguments) => PythonComparison.Contains(arguments.Bind("test_in", 1, "seq")[0], value, interpreter.Budget),
        ["even"] = (interpreter, value, _) => HasRemainder(interpreter, value, 2L, 0L),
        ["odd"] = (interpreter, value, _) => HasRemainder(interpreter, value, 2L, 1L),
        ["divisibleby"] = (interpreter, value, arguments) => HasRemainder(interpreter, value, arguments.Bind("test_divisibleby", 1, "num")[0], 0L),
        ["eq"] = Equal,
        ["equalto"] = Equal,
        ["=="] = Equal,
        ["ne"] = NotEqual,
        ["!="] = NotEqual,
        ["lt"] = Order("<", order => order < 0),
        ["lessthan"] = Order("<", order => order < 0),
        ["<"] = Order("<", order => order < 0),
        ["le"] = Order("<=", order => order <= 0),
        ["<="] = Order("<=", order => order <= 0),
        ["gt"] = Order(">", order => order > 0),
        ["greaterthan"] = Order(">", order => order > 0),
        [">"] = Order(">", order => order > 0),
        ["ge"] = Order(">=", order => order >= 0),
        [">="] = Order(">=", order => order >= 0),
    }.ToFrozenDictionary();

    /// <summary>The tests that compare with something.</summary>
    public static readonly FrozenSet<string> TakingArguments = new[]
    {
        "sameas", "in", "divisibleby", "eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<", "le", "<=", "gt", "greaterthan", ">", "ge", ">=",
    }.ToFrozenSet();

    private static bool Equal(Interpreter interpreter, object? value, CallArguments arguments) =>
        PythonComparison.AreEqual(value, arguments.BindPositional("eq", 1, 1)[0], interpreter.Budget);

    private static bool NotEqual(Interpreter interpreter, object? value, CallArguments arguments) =>
        !PythonComparison.AreEqual(value, arguments.BindPositional("ne", 1, 1)[0], interpreter.Budget);

    private static Test Order(string symbol, Func<int?, bool> holds) => (interpreter, value, arguments) =>
        holds(PythonComparison.Compare(value, arguments.BindPositional(symbol, 1, 1)[0], symbol, interpreter.Budget));

    private static bool HasRemainder(Interpreter interpreter, object? value, object? divisor, object remainder) =>
        PythonComparison.AreEqual(PythonOperators.Apply(BinaryOperator.Modulo, value, divisor, interpreter.Budget), remainder, interpreter.Budget);

    // CPython shares None, the booleans, small ints and short texts; equal immutable values count as the same here.
    private static bool IsSame(object? value, object? other) => ReferenceEquals(value, other) || (value, other) switch
    {
        (bool a, bool b) => a == b,
        (long a, long b) => a == b,
        (string a, string b) => string.Equals(a, b, StringComparison.Ordinal),
        _ => false,
    };
}
