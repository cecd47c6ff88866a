// Writes component_cases.json: what Hugging Face's tokenizers 0.23.2 (the npm package "tokenizers") give for single components.
// Usage: npm install tokenizers@0.23.2, then node generate_component_cases.mjs
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";

const { Tokenizer } = createRequire(process.cwd() + "/")("tokenizers");

const model = { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, vocab: { a: 0 }, merges: [] };
const tokenizer = (parts) => Tokenizer.fromString(JSON.stringify({ version: "1.0", truncation: null, padding: null, added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, model, ...parts }));

const texts = [
  "Hello, world!", " I'm 'LL  it's\t\n  x \r\n\r\nyou'\u017F ", "a1b22c333 ½² ٣Ⅷ①", "e\u0301 É ﬁ İ ß ς ệ \u1e9b\u0323", "한국 \u1100\u1161\u11a8 か\u3099 カ゛", "𠀀b a𝐀𝐁 \u{11935}\u{11930}",
  "中文，日本語。", "👨‍👩‍👧 🇩🇪 \u200b\u00ad\ufffd\u0000", "▁a▁▁b c", "$5+3<4>^_`|~-\u061D\u2E52\u166D", "x_y\u203Fz ①Ⓐ \u{1F130}", "   ", "\u00a0\u3000\u0085", "",
];

const split = (pattern, behavior, invert = false) => ({ type: "Split", pattern, behavior, invert });
const behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
const cl100k = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}DIGITS| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const expressions = [
  cl100k.replace("DIGITS", "{1,3}"), cl100k.replace("DIGITS", ""), "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
  "(?:ab|\\w)++c?|[^\\w]", "[0-9][0-9][0-9]", "\\p{L}(?=\\p{L})|^ | $",
];
const preTokenizers = [
  ...behaviors.flatMap((b) => [split({ Regex: "\\s|[aeo]" }, b), split({ Regex: "\\s|[aeo]" }, b, true), split({ String: " " }, b), { type: "Punctuation", behavior: b }]),
  ...expressions.map((e) => split({ Regex: e }, "Isolated")),
  { type: "Digits", individual_digits: true }, { type: "Digits", individual_digits: false }, { type: "Whitespace" }, { type: "WhitespaceSplit" }, { type: "BertPreTokenizer" },
  ...[true, false].flatMap((u) => [true, false].map((p) => ({ type: "ByteLevel", add_prefix_space: p, trim_offsets: true, use_regex: u }))),
  ...["always", "first", "never"].flatMap((s) => [true, false].map((x) => ({ type: "Metaspace", replacement: "▁", prepend_scheme: s, split: x }))),
  { type: "Metaspace", replacement: "▁", add_prefix_space: true },
  { type: "Sequence", pretokenizers: [{ type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true }, { type: "Digits", individual_digits: true }] },
];

const bert = (clean_text, handle_chinese_chars, strip_accents, lowercase) => ({ type: "BertNormalizer", clean_text, handle_chinese_chars, strip_accents, lowercase });
const normalizers = [
  ...["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"].map((type) => ({ type })),
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
writeFileSync(new URL("component_cases.json", import.meta.url), `{"tokenizers": "0.23.2", "cases": [\n${cases.map((c) => JSON.stringify(c)).join(",\n")}\n]}\n`);
console.log(cases.length);
