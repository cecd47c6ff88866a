using System.Diagnostics;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>A template is code from a checkpoint: none may hang or exhaust the process.</summary>
public class ChatTemplateLimitTests
{
    private static ChatTemplateException Fail(string template) => Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(template).Render([]))!;

    [Test]
    public void Render_RangeTooBig_FailsAsInJinjasSandbox() =>
        Assert.That(Fail("{% for i in range(10**9) %}x{% endfor %}").Reason, Does.Contain("MAX_RANGE (100000)"));

    [TestCase("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", TestName = "nested loops")]
    [TestCase("{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}", TestName = "macro that calls itself twice")]
    [TestCase("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", TestName = "endless recursion")]
    [TestCase("{% for t in [1] recursive %}{{ loop([1]) }}{% endfor %}", TestName = "endless recursive loop")]
    [TestCase("{{ 'x' * 10**9 }}", TestName = "repeated text")]
    [TestCase("{{ [1] * 10**9 }}", TestName = "repeated list")]
    [TestCase("{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}", TestName = "doubled text")]
    [TestCase("{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}", TestName = "doubled list, printed")]
    [TestCase("{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s | tojson }}", TestName = "doubled list, as JSON")]
    [TestCase("{% set n = namespace(s=[1], t=[1]) %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% set n.t = [n.t, n.t] %}{% endfor %}{{ n.s == n.t }}", TestName = "doubled lists, compared")]
    [TestCase("{% set n = namespace(s=()) %}{% for i in range(99) %}{% set n.s = (n.s, n.s) %}{% endfor %}{{ {n.s: 1} }}", TestName = "doubled tuple, hashed")]
    [TestCase("{% set n = namespace() %}{% set n.n = n %}{{ n }}", TestName = "cycle, printed")]
    [TestCase("{% set n = namespace(s=[]) %}{% for i in range(50000) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s }}", TestName = "deep list, printed")]
    [TestCase("{{ 2 ** 100000 }}", TestName = "huge power")]
    [TestCase("{{ '%1000000000d' % 1 }}", TestName = "wide percent format")]
    [TestCase("{{ '{:>1000000000}'.format(1) }}", TestName = "wide brace format")]
    [TestCase("{{ '%.1000000000f' % 1 }}", TestName = "precise percent format")]
    [TestCase("{{ 'x'.center(10**9) }}", TestName = "wide padding")]
    [TestCase("{{ '\\t'.expandtabs(10**9) }}", TestName = "wide tab")]
    [TestCase("{{ 'x' | indent(10**9) }}", TestName = "wide indent")]
    [TestCase("{{ [1] | tojson(indent=10**9) }}", TestName = "wide JSON indent")]
    [TestCase("{{ [1] | batch(10**9, 0) | list }}", TestName = "filled batch")]
    [TestCase("{{ [1] | slice(10**9) | list }}", TestName = "many slices")]
    [TestCase("{% set s = 'a' * 8000000 %}{{ (s ~ 'b') in (s ~ s) }}", TestName = "quadratic search")]
    [TestCase("{% set s = 'a' * 8000000 %}{% for i in range(100000) %}{{ s.find('b') }}{% endfor %}", TestName = "many searches")]
    [TestCase("{% for i in range(100000) %}{% for j in range(99) %}{{ 'xxxxxxxxxx' }}{% endfor %}{% endfor %}", TestName = "long output")]
    [TestCase("{% set n = namespace(s=()) %}{% for i in range(99) %}{% set n.s = (n.s, n.s) %}{% endfor %}{{ n.s in {} }}", TestName = "doubled tuple, looked for")]
    [TestCase("{% set n = namespace(s=[1]) %}{% for i in range(100000) %}{% set n.s = n.s | map('string') %}{% endfor %}{{ n.s | list }}", TestName = "deep iterator, mapped")]
    [TestCase("{% set n = namespace(s=[1]) %}{% for i in range(100000) %}{% set n.s = n.s | select %}{% endfor %}{{ 2 in n.s }}", TestName = "deep iterator, searched")]
    [TestCase("{% set n = namespace(s=[1]) %}{% for i in range(100000) %}{% set n.s = n.s | batch(1) %}{% endfor %}{% for x in n.s %}{% endfor %}", TestName = "deep iterator, looped over")]
    [TestCase("{% set d = {'a' * 16000000: 1} %}{% for i in range(100000) %}{{ d == d.copy() }}{% endfor %}", TestName = "long key, copied and compared")]
    [TestCase("{% set s = 'a' * 16000000 %}{% for i in range(100000) %}{{ s in {} }}{% endfor %}", TestName = "long key, looked for")]
    [TestCase("{% set s = ('a' * 100000,) * 9000 %}{% for i in range(100000) %}{{ {}[s] }}{% endfor %}", TestName = "long tuple, looked for")]
    [TestCase("{% set d = {}.fromkeys(range(99999)) %}{% for i in range(100000) %}{{ d.copy() | length }}{% endfor %}", TestName = "many copies")]
    [TestCase("{% set d = {}.fromkeys(range(9)|map('string')) %}{% for i in range(100000) %}{% for j in range(100000) %}{{ dict(**d) }}{% endfor %}{% endfor %}", TestName = "many keywords")]
    [TestCase("{% set q = 'a' * 15000000 %}{{ ([1] * 999)|tojson(separators=(q, q)) }}", TestName = "long JSON separator")]
    [TestCase("{% set q = 7 ** 2500 %}{% for i in range(100000) %}{% for j in range(100000) %}{{ q * q == 1 }}{% endfor %}{% endfor %}", TestName = "products of large integers")]
    public void Render_Excess_FailsNamingTheLimit(string template) => Assert.That(Fail(template).Fault, Is.EqualTo(ChatTemplateFault.Limit));

    [TestCase("{% set n = namespace(s=()) %}{% for i in range(100000) %}{% set n.s = (n.s,) %}{% endfor %}{{ {}[n.s] is defined }}", TestName = "deep tuple, looked up")]
    [TestCase("{% set n = namespace(s=()) %}{% for i in range(100000) %}{% set n.s = (n.s,) %}{% endfor %}{{ {n.s: 1} | length }}", TestName = "deep tuple, hashed")]
    public void Render_DeepKey_EndsWithoutOverflowingTheStack(string template)
    {
        // Whether it is too deep depends on the stack of the thread.
        try
        {
            Assert.That(ChatTemplate.Parse(template).Render([]), Is.EqualTo("False").Or.EqualTo("1"));
        }
        catch (ChatTemplateException error)
        {
            Assert.That(error.Fault, Is.EqualTo(ChatTemplateFault.Limit));
        }
    }

    [TestCase("{{ 1|a", ".a", 300_000, " }}", TestName = "dotted name")]
    [TestCase("{% if 0 %}", "{% elif 0 %}{{ a }}", 40_000, "{% endif %}", TestName = "branches")]
    public void Parse_LongConstruct_TakesTimeInProportion(string head, string link, int count, string tail)
    {
        string template = Names(20_000) + head + string.Concat(Enumerable.Repeat(link, count)) + tail;
        Stopwatch watch = Stopwatch.StartNew();

        try
        {
            ChatTemplate.Parse(template);
        }
        catch (ChatTemplateException error)
        {
            Assert.That(error.Reason, Does.Contain("No filter named"));
        }

        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(10)));
    }

    [Test]
    public void Render_ManyNamesInALoop_FailsNamingTheLimit() =>
        Assert.That(Fail("{% for i in range(100000) %}{% if 0 %}" + Names(50_000) + "{% endif %}{% endfor %}").Fault, Is.EqualTo(ChatTemplateFault.Limit));

    [Test]
    public void Keys_OfLargeDictionaries_AreComparedByHash() =>
        Assert.That(ChatTemplate.Parse("{% set d = {}.fromkeys(range(99999)) %}{% set e = {}.fromkeys(range(99998, -1, -1)) %}{{ d.keys() == e.keys() }} {{ d.items() == e.items() }}").Render([]), Is.EqualTo("True True"));

    private static string Names(int count) => string.Concat(Enumerable.Range(0, count).Select(i => $"{{{{v{i}}}}}"));

    [TestCase("(", "1", ")")]
    [TestCase("- ", "1", "")]
    [TestCase("[", "1", "]")]
    [TestCase("not ", "1", "")]
    [TestCase("1 if 1 else ", "1", "")]
    [TestCase("f(", "1", ")")]
    public void Parse_DeepExpression_FailsNamingTheLimit(string open, string middle, string close)
    {
        string template = "{{ " + string.Concat(Enumerable.Repeat(open, 5000)) + middle + string.Concat(Enumerable.Repeat(close, 5000)) + " }}";

        Assert.That(Fail(template).Fault, Is.EqualTo(ChatTemplateFault.Limit));
    }

    [TestCase(" + 1")]
    [TestCase(" and 1")]
    [TestCase(" * 1")]
    [TestCase(" if 1")]
    [TestCase(" ~ 1")]
    [TestCase(".a")]
    [TestCase(" | upper")]
    [TestCase("[0]")]
    [TestCase("()")]
    public void Render_LongChain_EndsWithoutOverflowingTheStack(string link)
    {
        string template = "{{ 1" + string.Concat(Enumerable.Repeat(link, 100_000)) + " }}";
        try
        {
            Assert.That(ChatTemplate.Parse(template).Render([]), Is.Not.Empty);
        }
        catch (ChatTemplateException error)
        {
            Assert.That(error.Fault, Is.EqualTo(ChatTemplateFault.Limit).Or.EqualTo(ChatTemplateFault.Evaluation));
        }
    }

    [Test]
    public void Render_LongConversation_StaysWithinLimits()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] | trim + '<|end|>' }}{% endfor %}");
        ChatMessage[] messages = [.. Enumerable.Range(0, 5000).Select(i => new ChatMessage(i % 2 == 0 ? "user" : "assistant", new string('x', 1000)))];

        Assert.That(template.Render(messages), Has.Length.GreaterThan(5_000_000));
    }
}
