namespace FastGen.Models.Jinja;

internal sealed partial class Interpreter
{
    public object? Evaluate(Expression expression, Frame frame)
    {
        Budget.Step();
        RenderBudget.GuardStack();
        return expression switch
        {
            ConstantExpression constant => constant.Value,
            NameExpression name => Load(name, frame),
            AttributeExpression attribute => Members.GetAttribute(Evaluate(attribute.Target, frame), attribute.Name, Budget),
            ItemExpression item => EvaluateItem(item, frame),
            CallExpression call => EvaluateCall(call, frame, caller: null),
            FilterExpression filter => ApplyFilter(filter, frame, text: null),
            TestExpression test => ApplyTest(test.Name, Evaluate(test.Operand, frame), EvaluateArguments(test.Arguments, frame)),
            CompareExpression compare => EvaluateCompare(compare, frame),
            BinaryExpression binary => EvaluateBinary(binary, frame),
            UnaryExpression unary => EvaluateUnary(unary, frame),
            ConcatExpression concat => EvaluateConcat(concat, frame),
            ConditionalExpression conditional => EvaluateConditional(conditional, frame),
            ListExpression list => new PythonList(EvaluateAll(list.Items, frame)),
            TupleExpression tuple => new PythonTuple(EvaluateAll(tuple.Items, frame)),
            DictExpression dict => EvaluateDict(dict, frame),
            SliceExpression slice => EvaluateSlice(slice, frame),
            _ => throw TemplateError.Runtime($"An expression of the form {expression.GetType().Name} has no value."),
        };
    }

    private static object? Load(NameExpression name, Frame frame)
    {
        object? value = frame.Up(name.Hops)[name.Slot];
        return value == Frame.Unset ? Undefined.Name(name.Name) : value;
    }

    private List<object?> EvaluateAll(IReadOnlyList<Expression> items, Frame frame)
    {
        List<object?> values = new(items.Count);
        foreach (Expression item in items) values.Add(Evaluate(item, frame));
        return values;
    }

    private PythonDict EvaluateDict(DictExpression expression, Frame frame)
    {
        PythonDict dict = new();
        foreach ((Expression keyExpression, Expression value) in expression.Items)
        {
            object? key = Evaluate(keyExpression, frame);
            dict.Set(key, Evaluate(value, frame), Budget);
        }
        return dict;
    }

    private PythonSlice EvaluateSlice(SliceExpression slice, Frame frame)
    {
        object? Bound(Expression? bound) => bound is null ? null : Evaluate(bound, frame);
        return new PythonSlice(Bound(slice.Start), Bound(slice.Stop), Bound(slice.Step));
    }

    private object? EvaluateItem(ItemExpression expression, Frame frame)
    {
        object? target = Evaluate(expression.Target, frame);
        return expression.Index is SliceExpression slice
            ? PythonIndexing.Slice(target, EvaluateSlice(slice, frame), Budget)
            : Members.GetItem(target, Evaluate(expression.Index, frame), Budget);
    }

    private object? EvaluateConditional(ConditionalExpression expression, Frame frame)
    {
        if (PythonTypes.IsTrue(Evaluate(expression.Test, frame))) return Evaluate(expression.WhenTrue, frame);
        return expression.WhenFalse is null
            ? Undefined.Hint($"the inline if-expression on line {expression.Line} evaluated to false and no else section was defined.")
            : Evaluate(expression.WhenFalse, frame);
    }

    private object? EvaluateBinary(BinaryExpression expression, Frame frame)
    {
        object? left = Evaluate(expression.Left, frame);
        return expression.Operator switch
        {
            BinaryOperator.And => PythonTypes.IsTrue(left) ? Evaluate(expression.Right, frame) : left,
            BinaryOperator.Or => PythonTypes.IsTrue(left) ? left : Evaluate(expression.Right, frame),
            _ => PythonOperators.Apply(expression.Operator, left, Evaluate(expression.Right, frame), Budget),
        };
    }

    private object? EvaluateUnary(UnaryExpression expression, Frame frame)
    {
        object? value = Evaluate(expression.Operand, frame);
        return expression.Operator switch
        {
            UnaryOperator.Not => !PythonTypes.IsTrue(value),
            UnaryOperator.Negate => PythonOperators.Negate(value),
            _ => PythonOperators.Plus(value),
        };
    }

    private string EvaluateConcat(ConcatExpression expression, Frame frame)
    {
        string[] texts = [.. expression.Items.Select(item => PythonText.Str(Evaluate(item, frame), Budget))];
        Budget.Text(texts.Sum(text => (long)text.Length));
        return string.Concat(texts);
    }

    private bool EvaluateCompare(CompareExpression expression, Frame frame)
    {
        object? left = Evaluate(expression.First, frame);
        foreach ((ComparisonOperator @operator, Expression operand) in expression.Links)
        {
            object? right = Evaluate(operand, frame);
            if (!Compare(@operator, left, right)) return false;
            left = right;
        }
        return true;
    }

    private bool Compare(ComparisonOperator @operator, object? left, object? right) => @operator switch
    {
        ComparisonOperator.Equal => PythonComparison.AreEqual(left, right, Budget),
        ComparisonOperator.NotEqual => !PythonComparison.AreEqual(left, right, Budget),
        ComparisonOperator.Less => PythonComparison.Compare(left, right, "<", Budget) < 0,
        ComparisonOperator.LessOrEqual => PythonComparison.Compare(left, right, "<=", Budget) <= 0,
        ComparisonOperator.Greater => PythonComparison.Compare(left, right, ">", Budget) > 0,
        ComparisonOperator.GreaterOrEqual => PythonComparison.Compare(left, right, ">=", Budget) >= 0,
        ComparisonOperator.In => PythonComparison.Contains(right, left, Budget),
        _ => !PythonComparison.Contains(right, left, Budget),
    };

    private CallArguments EvaluateArguments(ArgumentList arguments, Frame frame, Macro? caller = null)
    {
        if (arguments == ArgumentList.Empty && caller is null) return CallArguments.None;
        List<object?> positional = EvaluateAll(arguments.Positional, frame);
        List<KeyValuePair<string, object?>> keywords = new(arguments.Keywords.Count);
        foreach ((string name, Expression value) in arguments.Keywords) keywords.Add(KeyValuePair.Create(name, Evaluate(value, frame)));
        if (arguments.Unpacked is not null) positional.AddRange(PythonTypes.ToList(Evaluate(arguments.Unpacked, frame), Budget));
        if (arguments.UnpackedKeywords is not null) UnpackKeywords(Evaluate(arguments.UnpackedKeywords, frame), keywords);
        if (caller is not null) keywords.Add(KeyValuePair.Create("caller", (object?)caller));
        return new CallArguments(positional, keywords);
    }

    private void UnpackKeywords(object? value, List<KeyValuePair<string, object?>> keywords)
    {
        PythonDict dict = value as PythonDict ?? throw TemplateError.Type($"argument after ** must be a mapping, not {PythonTypes.Name(value)}");
        Budget.Items(dict.Count);
        HashSet<string> given = [.. keywords.Select(keyword => keyword.Key)];
        foreach ((object? key, object? item) in dict.Items)
        {
            Budget.Key(key);
            string name = PythonTypes.TextOf(key) ?? throw TemplateError.Type("keywords must be strings");
            if (given.Contains(name)) throw TemplateError.Type($"got multiple values for keyword argument '{name}'");
            keywords.Add(KeyValuePair.Create(name, item));
        }
    }

    private object? EvaluateCall(CallExpression expression, Frame frame, Macro? caller)
    {
        object? target = Evaluate(expression.Target, frame);
        return Call(target, EvaluateArguments(expression.Arguments, frame, caller));
    }

    private object? Call(object? target, CallArguments arguments) => target switch
    {
        Callable callable => callable.Call(this, arguments),
        LoopContext loop => loop.Recurse(arguments),
        Undefined undefined => throw undefined.Error(),
        _ => throw TemplateError.Type($"'{PythonTypes.Name(target)}' object is not callable"),
    };

    /// <summary>Applies a chain of filters; <paramref name="text"/> is what the chain of a filter block or set block begins with.</summary>
    private object? ApplyFilter(FilterExpression expression, Frame frame, string? text)
    {
        RenderBudget.GuardStack();
        object? value = expression.Operand switch
        {
            null => text,
            FilterExpression inner => ApplyFilter(inner, frame, text),
            Expression operand => Evaluate(operand, frame),
        };
        return ApplyFilter(expression.Name, value, EvaluateArguments(expression.Arguments, frame));
    }

    public object? ApplyFilter(string name, object? value, CallArguments arguments)
    {
        Budget.Step();
        if (!Filters.Table.TryGetValue(name, out Filter? filter)) throw TemplateError.Runtime($"No filter named '{name}' found.");
        return filter(this, value, arguments);
    }

    public bool ApplyTest(string name, object? value, CallArguments arguments)
    {
        Budget.Step();
        if (!Tests.Table.TryGetValue(name, out Test? test)) throw TemplateError.Runtime($"No test named '{name}' found.");
        if (arguments.Positional.Count + arguments.Keywords.Count > 0 && !Tests.TakingArguments.Contains(name)) throw TemplateError.Type($"test_{name}() takes 1 positional argument but {arguments.Positional.Count + arguments.Keywords.Count + 1} were given");
        return test(this, value, arguments);
    }
}
