// The source languages of modules.

/** Each language is compiled by `front-end.ts`. */
export const sourceLanguages = ['assemblyscript', 'wat'] as const;
export type SourceLanguage = (typeof sourceLanguages)[number];

/** `wasm` is a prebuilt WebAssembly module from any toolchain. */
export const languages = [...sourceLanguages, 'wasm'] as const;
export type Language = (typeof languages)[number];

type LanguageInfo = {
  /** Name of the language in messages. */
  readonly name: string;
  /** Matches brackets, and whole comments and strings, whose brackets do not nest. */
  readonly brackets: RegExp;
};

export const languageInfo: Readonly<Record<SourceLanguage, LanguageInfo>> = {
  assemblyscript: {
    name: 'AssemblyScript',
    brackets: /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[()[\]{}]/g,
  },
  wat: { name: 'WAT', brackets: /;;[^\n]*|"(?:[^"\\\n]|\\.)*"|[()]/g },
};

/** Features of WebAssembly that a build can enable for its source. */
export const sourceFeatures = ['simd'] as const;
export type SourceFeature = (typeof sourceFeatures)[number];
