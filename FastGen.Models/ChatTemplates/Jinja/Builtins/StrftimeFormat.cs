using System.Globalization;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>Python's <c>datetime.strftime</c> in the C locale.</summary>
internal static class StrftimeFormat
{
    public static string Format(DateTimeOffset time, string format)
    {
        StringBuilder text = new();
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                text.Append(format[i]);
                continue;
            }

            // glibc: '-' drops the padding, '_' pads with spaces, '0' with zeros, '^' makes capitals.
            char flag = format[i + 1] is '-' or '_' or '^' or '0' && i + 2 < format.Length ? format[++i] : '\0';
            string? value = Directive(time, format[++i], flag);
            if (value is null) text.Append('%').Append(flag == '\0' ? "" : flag.ToString()).Append(format[i]);
            else text.Append(flag == '^' ? value.ToUpperInvariant() : value);
        }
        return text.ToString();
    }

    private static string? Directive(DateTimeOffset time, char directive, char flag) => directive switch
    {
        'a' => Text(time, "ddd"),
        'A' => Text(time, "dddd"),
        'b' or 'h' => Text(time, "MMM"),
        'B' => Text(time, "MMMM"),
        'c' => $"{Text(time, "ddd MMM")} {Number(time.Day, 2, '_')} {Text(time, "HH:mm:ss yyyy")}",
        'C' => Number(time.Year / 100, 2, flag),
        'd' => Number(time.Day, 2, flag),
        'D' or 'x' => Text(time, "MM'/'dd'/'yy"),
        'e' => Number(time.Day, 2, flag == '\0' ? '_' : flag),
        'f' => Text(time, "ffffff"),
        'F' => Text(time, "yyyy-MM-dd"),
        'g' => Number(ISOWeek.GetYear(time.DateTime) % 100, 2, flag),
        'G' => ISOWeek.GetYear(time.DateTime).ToString(CultureInfo.InvariantCulture),
        'H' => Number(time.Hour, 2, flag),
        'I' => Number((time.Hour + 11) % 12 + 1, 2, flag),
        'j' => Number(time.DayOfYear, 3, flag),
        'k' => Number(time.Hour, 2, flag == '\0' ? '_' : flag),
        'l' => Number((time.Hour + 11) % 12 + 1, 2, flag == '\0' ? '_' : flag),
        'm' => Number(time.Month, 2, flag),
        'M' => Number(time.Minute, 2, flag),
        'n' => "\n",
        'p' => time.Hour < 12 ? "AM" : "PM",
        'P' => time.Hour < 12 ? "am" : "pm",
        'r' => Text(time, "hh:mm:ss ") + (time.Hour < 12 ? "AM" : "PM"),
        'R' => Text(time, "HH:mm"),
        's' => time.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture),
        'S' => Number(time.Second, 2, flag),
        't' => "\t",
        'T' or 'X' => Text(time, "HH:mm:ss"),
        'u' => (((int)time.DayOfWeek + 6) % 7 + 1).ToString(CultureInfo.InvariantCulture),
        'U' => Number((time.DayOfYear + 6 - (int)time.DayOfWeek) / 7, 2, flag),
        'V' => Number(ISOWeek.GetWeekOfYear(time.DateTime), 2, flag),
        'w' => ((int)time.DayOfWeek).ToString(CultureInfo.InvariantCulture),
        'W' => Number((time.DayOfYear + 6 - ((int)time.DayOfWeek + 6) % 7) / 7, 2, flag),
        'y' => Number(time.Year % 100, 2, flag),
        'Y' => time.Year.ToString(CultureInfo.InvariantCulture),

        // datetime.now() has no zone, so Python leaves these empty.
        'z' or 'Z' => "",
        '%' => "%",
        _ => null,
    };

    private static string Text(DateTimeOffset time, string format) => time.ToString(format, CultureInfo.InvariantCulture);

    private static string Number(int value, int width, char flag)
    {
        string digits = value.ToString(CultureInfo.InvariantCulture);
        return flag == '-' ? digits : digits.PadLeft(width, flag == '_' ? ' ' : '0');
    }
}
