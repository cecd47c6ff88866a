// Writes component_cases.json: what Hugging Face's tokenizers 0.23.2 (the npm package "tokenizers") give for single components.
// Usage: npm install tokenizers@0.23.2, then node generate_component_cases.mjs
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";

const { Tokenizer } = createRequire(process.cwd() + "/")("tokenizers");

const model = { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, vocab: { a: 0 }, merges: [] };
const tokenizer = (parts) => Tokenizer.fromString(JSON.stringify({ version: "1.0", truncation: null, padding: null, added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, model, ...parts }));

const texts = [
  "Hello, world!", " I'm 'LL  it's\t\n  x \r\n\r\nyou'\u017F ", "a1b22c333 ½² ٣Ⅷ①", "e\u0301 É ﬁ İ ß ς ệ \u1e9b\u0323", "한국 \u1100\u1161\u11a8 か\u3099 カ゛", "𠀀b a𝐀𝐁 \u{11935}\u{11930}",
  "中文，日本語。", "👨‍👩‍👧 🇩🇪 \u200b\u00ad\ufffd\u0000", "▁a▁▁b c", "$5+3<4>^_`|~-\u061D\u2E52\u166D", "x_y\u203Fz ①Ⓐ \u{1F130}", "   ", "\u00a0\u3000\u0085", "", "x\u09FE\u0323\u07FD\u000B\u000C (y²½'\u017Fxx\u2581",
];

const split = (pattern, behavior, invert = false) => ({ type: "Split", pattern, behavior, invert });
const behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
const cl100k = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}DIGITS| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const expressions = [
  cl100k.replace("DIGITS", "{1,3}"), cl100k.replace("DIGITS", ""), "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
  "(?:ab|\\w)++c?|[^\\w]", "[0-9][0-9][0-9]", "\\p{L}(?=\\p{L})|^ | $",
  "(?i:'s|[a-c])", " ?[^(\\s|[.,!?…]]+", "[\\w]+", "[^\\p{^L}[0-9]]+", "\\x{4E2D}|(?m:a.)",
];
const preTokenizers = [
  ...behaviors.flatMap((b) => [split({ Regex: "\\s|[aeo]" }, b), split({ Regex: "\\s|[aeo]" }, b, true), split({ String: " " }, b), { type: "Punctuation", behavior: b }]),
  ...expressions.map((e) => split({ Regex: e }, "Isolated")),
  { type: "Digits", individual_digits: true }, { type: "Digits", individual_digits: false }, { type: "Whitespace" }, { type: "WhitespaceSplit" }, { type: "BertPreTokenizer" }, { type: "CharDelimiterSplit", delimiter: "𝐀" },
  ...behaviors.map((b) => split({ Regex: "x*" }, b)),
  ...[true, false].flatMap((u) => [true, false].map((p) => ({ type: "ByteLevel", add_prefix_space: p, trim_offsets: true, use_regex: u }))),
  ...["always", "first", "never"].flatMap((s) => [true, false].map((x) => ({ type: "Metaspace", replacement: "▁", prepend_scheme: s, split: x }))),
  { type: "Metaspace", replacement: "▁", add_prefix_space: true },
  { type: "Sequence", pretokenizers: [{ type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true }, { type: "Digits", individual_digits: true }] },
];

const bert = (clean_text, handle_chinese_chars, strip_accents, lowercase) => ({ type: "BertNormalizer", clean_text, handle_chinese_chars, strip_accents, lowercase });
const normalizers = [
  ...["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"].map((type) => ({ type })),
  { type: "Strip", strip_left: true, strip_right: false }, { type: "Strip", strip_left: false, strip_right: true }, { type: "Prepend", prepend: "▁" },
  { type: "Replace", pattern: { String: " " }, content: "▁" }, { type: "Replace", pattern: { Regex: "\\s{2,}|\\p{N}" }, content: "#" },
  { type: "Sequence", normalizers: [{ type: "NFD" }, { type: "StripAccents" }, { type: "Lowercase" }] },
  bert(true, true, null, true), bert(false, true, false, false), bert(true, false, true, false),
];

const tokens = [
  ["▁Hello", "▁▁", "▁world", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "!", "<0xFF>", "<0x41>", "<0x0A>"], ["▁▁▁", "a", "▁"], ["Ġa", "ð", "Ł", "ĺ", "Ģ", "<|x|>", "é", " b"],
  ["hello", "##ing", "do", "n't", ".", "'m", "a</w>", "b</w>"], [" ", "  x ", "t", " "], [],
];
const sequence = (...decoders) => ({ type: "Sequence", decoders });
const strip = (start, stop) => ({ type: "Strip", content: " ", start, stop });
const replace = { type: "Replace", pattern: { String: "▁" }, content: " " };
const decoders = [
  { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true }, { type: "ByteFallback" }, { type: "Fuse" }, replace, { type: "Replace", pattern: { Regex: "[a-e]+" }, content: "*" },
  ...["always", "first", "never"].map((s) => ({ type: "Metaspace", replacement: "▁", prepend_scheme: s, split: true })),
  { type: "WordPiece", prefix: "##", cleanup: true }, { type: "WordPiece", prefix: "##", cleanup: false }, { type: "BPEDecoder", suffix: "</w>" },
  sequence(replace, { type: "ByteFallback" }, { type: "Fuse" }, strip(1, 0)), sequence(replace, strip(1, 0), { type: "Fuse" }),
  sequence({ type: "Fuse" }, { type: "Replace", pattern: { String: "lo" }, content: "0" }, strip(2, 0)),
];

const cases = [];
for (const spec of preTokenizers) {
  const component = tokenizer({ pre_tokenizer: spec }).getPreTokenizer();
  for (const text of texts) cases.push({ kind: "pre_tokenizer", spec, text, pieces: component.preTokenizeString(text).map((piece) => piece[0]) });
}
for (const spec of normalizers) {
  const component = tokenizer({ normalizer: spec }).getNormalizer();
  for (const text of texts) cases.push({ kind: "normalizer", spec, text, normalized: component.normalizeString(text) });
}
for (const spec of decoders) {
  const component = tokenizer({ decoder: spec }).getDecoder();
  for (const list of tokens) cases.push({ kind: "decoder", spec, tokens: list, text: component.decode(list) });
}

const added = (id, content, flags = {}) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...flags });
const characters = Object.fromEntries(["<unk>", "a", "b", "ab", " ", "\n", "a</w>", "b</w>", "##b", "<0x63>", "<0x3C>", "<0x2F>", "<0x77>", "<0x3E>"].map((token, id) => [token, id]));
const bytePair = (parts) => ({ ...model, vocab: characters, merges: [["a", "b"]], ...parts });
const wholes = [
  // White space that one token takes and another is or wants.
  { model: bytePair(), added_tokens: [added(14, "X", { rstrip: true }), added(15, "\n", { lstrip: true, rstrip: true }), added(16, " ", { normalized: true })] },
  { model: bytePair(), added_tokens: [added(14, "X", { lstrip: true, rstrip: true }), added(15, "  ", { lstrip: true, rstrip: true })] },
  // Ids follow the order of the file; a normalized special token decodes to a text that is not special.
  { model: bytePair(), added_tokens: [added(20, "Y", { normalized: true }), added(15, "X", { special: false }), added(1, "a", { single_word: true })], normalizer: { type: "Prepend", prepend: "b" } },
  { model: bytePair({ unk_token: "<unk>", byte_fallback: true }) }, { model: bytePair({ unk_token: "<unk>", byte_fallback: true, fuse_unk: true }) }, { model: bytePair({ unk_token: "<unk>", fuse_unk: true }) },
  { model: bytePair({ end_of_word_suffix: "</w>", byte_fallback: true }), pre_tokenizer: { type: "Whitespace" } }, { model: bytePair({ continuing_subword_prefix: "##", merges: [["a", "##b"]], unk_token: "<unk>" }) },
  { model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ["a", -1], ["b", -2], ["a", -3], ["ab", -1.5]], byte_fallback: false }, added_tokens: [added(5, "X")] },
  // Without a type and with only some of WordPiece's fields the model is a WordLevel one.
  { model: { unk_token: "<unk>", max_input_chars_per_word: 1, vocab: { "<unk>": 0, ab: 1, ba: 2 } }, pre_tokenizer: { type: "WhitespaceSplit" } },
  { model: { unk_token: "<unk>", max_input_chars_per_word: 2, continuing_subword_prefix: "##", vocab: { "<unk>": 0, a: 1, "##b": 2 } }, pre_tokenizer: { type: "WhitespaceSplit" } },
];
const wholeTexts = ["abc ab", "X \n X\n", "X    b", "caéb céc<a", "Xa Ya aY", "ba"];
for (const spec of wholes) {
  const whole = tokenizer(spec);
  for (const text of wholeTexts) {
    const ids = (await whole.encode(text)).getIds();
    cases.push({ kind: "tokenizer", spec, text, ids, skipped: await whole.decode(ids, true), kept: await whole.decode(ids, false) });
  }
}
writeFileSync(new URL("component_cases.json", import.meta.url), `{"tokenizers": "0.23.2", "cases": [\n${cases.map((c) => JSON.stringify(c)).join(",\n")}\n]}\n`);
console.log(cases.length);
