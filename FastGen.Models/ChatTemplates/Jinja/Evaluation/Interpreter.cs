using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>Renders one template once. The parts: output and frames here, statements and expressions in the files beside.</summary>
internal sealed partial class Interpreter
{
    private const int MaxCallDepth = 400;

    private readonly IReadOnlyDictionary<string, object?> _context;
    private StringBuilder _output = new();
    private int _callDepth;

    private Interpreter(IReadOnlyDictionary<string, object?> context) => _context = context;

    public RenderBudget Budget { get; } = new();

    /// <summary>Renders <paramref name="template"/> with the variables of <paramref name="context"/>, the globals among them.</summary>
    public static string Render(IReadOnlyList<Statement> template, FrameLayout layout, IReadOnlyDictionary<string, object?> context)
    {
        Interpreter interpreter = new(context);
        interpreter.Execute(template, interpreter.EnterFrame(null, layout));
        return interpreter._output.ToString();
    }

    public Frame EnterFrame(Frame? outer, FrameLayout layout)
    {
        Frame frame = new(outer, layout);
        Enter(frame, keepParameters: false);
        return frame;
    }

    private void Enter(Frame frame, bool keepParameters)
    {
        Budget.Step(frame.Layout.Loads.Count);
        frame.Enter(_context, keepParameters);
    }

    /// <summary>Runs a macro's body, or another that may call itself, and returns what it wrote.</summary>
    public string Capture(IReadOnlyList<Statement> body, Frame frame) => Capture(() => Execute(body, frame));

    private string Capture(Action write)
    {
        if (++_callDepth > MaxCallDepth) throw TemplateError.Limit($"Macros and recursive loops call each other more than {MaxCallDepth} deep.");
        StringBuilder outer = _output;
        _output = new StringBuilder();
        write();
        string text = _output.ToString();
        _output = outer;
        _callDepth--;
        return text;
    }

    private void Write(string text)
    {
        Budget.Grown(_output.Length, (long)_output.Length + text.Length);
        _output.Append(text);
    }
}
