// The languages that the sources of modules may be in.

/** Each language is compiled by `front-end.ts`. */
export const sourceLanguages = ['assemblyscript', 'wat'] as const;
export type SourceLanguage = (typeof sourceLanguages)[number];

/** `wasm` is a prebuilt WebAssembly module from any toolchain. */
export const languages = [...sourceLanguages, 'wasm'] as const;
export type Language = (typeof languages)[number];

type LanguageInfo = {
  /** As messages name the language. */
  readonly name: string;
  /** Matches brackets, and whole comments and strings: brackets in those do not nest. */
  readonly brackets: RegExp;
};

export const languageInfo: Readonly<Record<SourceLanguage, LanguageInfo>> = {
  assemblyscript: {
    name: 'AssemblyScript',
    brackets: /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[()[\]{}]/g,
  },
  wat: { name: 'WAT', brackets: /;;[^\n]*|"(?:[^"\\\n]|\\.)*"|[()]/g },
};

/** Features of WebAssembly that a source may use when its build asks for them. */
export const sourceFeatures = ['simd'] as const;
export type SourceFeature = (typeof sourceFeatures)[number];
