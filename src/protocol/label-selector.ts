// Label selectors in the syntax of Kubernetes: equality-based and set-based requirements, separated by commas. Without zod, so that the dashboard can
// use them too.

import { labelPatterns, labelRules } from './label-rules.ts';

export const selectorLimits = {
  characters: 4_096,
  requirements: 32,
  /** Values of all requirements. */
  values: 256,
} as const;

/** Limits of a scope: of all its selectors together. */
export const scopeLimits = { characters: 16_384, selectors: 100, requirements: 200, values: 512 } as const;

/** One condition on the labels of a device. */
export type LabelRequirement = {
  readonly key: string;
  /** The values that match, each once; null: any value. Never empty. */
  readonly values: readonly string[] | null;
  /** Whether the requirement selects the devices that do not match: those with another value, and those without the label. */
  readonly isNegated: boolean;
};

/** Selectors of which a device must match one or more. Only scopes have them. */
type LabelAlternatives = { readonly anyOf: readonly LabelSelector[] };

/** Conditions that a device must all meet. */
export type LabelSelector = readonly (LabelRequirement | LabelAlternatives)[];

/** A text is not a label selector. The message says where, what is expected and what was found there. */
export class LabelSelectorError extends Error {
  override readonly name = 'LabelSelectorError';
  /** Position of the first wrong character, from 1. */
  readonly position: number;

  constructor(position: number, reason: string) {
    super(`at character ${position}: ${reason}`);
    this.position = position;
  }
}

type Token = {
  /** A word is a key, a value or an operator such as `in`; a symbol can be none of them. */
  readonly kind: 'word' | 'symbol' | 'end' | 'other';
  readonly text: string;
  /** From 1, in characters. */
  readonly position: number;
};

/** Characters with a meaning in this syntax or in Kubernetes, and quotes, which it does not have. A label value with one of them cannot be selected. */
const tokenPattern = /(?<word>[^\s\p{Cc},()=!<>"'`]+)|(?<symbol>==|!=|[=!(),])|(?<other>.)/gsu;
const isSpace = /^[ \t\r\n]$/;
const keyPattern = new RegExp(`^${labelPatterns.key}$`);
const valuePattern = new RegExp(`^${labelPatterns.value}$`);

/** @throws {LabelSelectorError} */
export function parseLabelSelector(text: string): readonly LabelRequirement[] {
  if (text.length > selectorLimits.characters)
    throw new LabelSelectorError(selectorLimits.characters + 1, `limit exceeded (${selectorLimits.characters} characters)`);
  return new Parser(tokenize(text), selectorLimits).parse();
}

/** Parses a scope: a label selector, or several in parentheses, such as `(zone=north) or (tier=edge)`. @throws {LabelSelectorError} */
export function parseScope(text: string): LabelSelector {
  if (text.length > scopeLimits.characters)
    throw new LabelSelectorError(scopeLimits.characters + 1, `limit exceeded (${scopeLimits.characters} characters)`);
  const tokens = tokenize(text);
  return tokens[0]?.text === '(' ? new Parser(tokens, scopeLimits).parseAlternatives() : new Parser(tokens, selectorLimits).parse();
}

/** Returns the selector of the devices that match one or more of these selectors. */
export function uniteSelectors(selectors: readonly LabelSelector[]): LabelSelector {
  const distinct = [...new Map(selectors.map((selector) => [formatLabelSelector(selector), selector])).values()];
  const [first] = distinct;
  return first !== undefined && distinct.length === 1 ? first : [{ anyOf: distinct }];
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let position = 1;
  for (const [found, word, symbol] of text.matchAll(tokenPattern)) {
    const kind = word !== undefined ? 'word' : symbol !== undefined ? 'symbol' : 'other';
    if (!isSpace.test(found)) tokens.push({ kind, text: found, position });
    position += Array.from(found).length;
  }
  return [...tokens, { kind: 'end', text: '', position }];
}

/** A recursive descent parser with one token of lookahead. */
class Parser {
  readonly #tokens: readonly Token[];
  readonly #limits: { readonly requirements: number; readonly values: number };
  #index = 0;
  #requirementCount = 0;
  #valueCount = 0;

  constructor(tokens: readonly Token[], limits: { readonly requirements: number; readonly values: number }) {
    this.#tokens = tokens;
    this.#limits = limits;
  }

  parse(): readonly LabelRequirement[] {
    const requirements = this.#requirements();
    if (this.#next.kind !== 'end') throw this.#unexpected('"," or the end of the selector');
    return requirements;
  }

  /** Parses selectors in parentheses, with "or" between them. */
  parseAlternatives(): LabelSelector {
    const selectors: LabelSelector[] = [];
    do {
      if (selectors.length === scopeLimits.selectors)
        throw new LabelSelectorError(this.#next.position, `limit exceeded (${scopeLimits.selectors} selectors)`);
      if (!this.#accept('(')) throw this.#unexpected('"("');
      selectors.push(this.#requirements());
      if (!this.#accept(')')) throw this.#unexpected('"," or ")"');
    } while (this.#accept('or'));
    if (this.#next.kind !== 'end') throw this.#unexpected('"or" or the end of the scope');
    return uniteSelectors(selectors);
  }

  #requirements(): LabelRequirement[] {
    const requirements: LabelRequirement[] = [];
    do {
      if (this.#requirementCount === this.#limits.requirements)
        throw new LabelSelectorError(this.#next.position, `limit exceeded (${this.#limits.requirements} requirements)`);
      this.#requirementCount += 1;
      requirements.push(this.#requirement());
    } while (this.#accept(','));
    return requirements;
  }

  /** The next token. After the last one, that is the end. */
  get #next(): Token {
    return this.#tokens[this.#index] ?? { kind: 'end', text: '', position: 1 };
  }

  /** Skips the next token if it has this text. */
  #accept(text: string): boolean {
    if (this.#next.kind === 'end' || this.#next.text !== text) return false;
    this.#index += 1;
    return true;
  }

  #unexpected(expected: string): LabelSelectorError {
    const { kind, text, position } = this.#next;
    return new LabelSelectorError(
      position,
      `expected ${expected}, received ${kind === 'end' ? 'the end of the selector' : JSON.stringify(text)}`,
    );
  }

  #requirement(): LabelRequirement {
    const isAbsent = this.#accept('!');
    const key = this.#key();
    if (isAbsent || this.#next.kind === 'end' || this.#next.text === ',' || this.#next.text === ')')
      return { key, values: null, isNegated: isAbsent };
    if (this.#accept('=') || this.#accept('==')) return { key, values: [this.#value()], isNegated: false };
    if (this.#accept('!=')) return { key, values: [this.#value()], isNegated: true };
    if (this.#accept('in')) return { key, values: this.#values(), isNegated: false };
    if (this.#accept('notin')) return { key, values: this.#values(), isNegated: true };
    throw this.#unexpected('"=", "==", "!=", "in", "notin", "," or the end of the selector');
  }

  #key(): string {
    const { kind, text, position } = this.#next;
    if (kind !== 'word') throw this.#unexpected('a label key or "!"');
    if (!keyPattern.test(text)) throw new LabelSelectorError(position, `${JSON.stringify(text)} is not a label key: ${labelRules.key}`);
    this.#index += 1;
    return text;
  }

  /** Returns the next value. It is empty if there is none. */
  #value(): string {
    const { kind, text, position } = this.#next;
    this.#valueCount += 1;
    if (this.#valueCount > this.#limits.values) throw new LabelSelectorError(position, `limit exceeded (${this.#limits.values} values)`);
    if (kind === 'end' || text === ',' || text === ')') return '';
    if (kind !== 'word') throw this.#unexpected('a label value without spaces, quotes and the characters , ( ) = ! < >');
    if (!valuePattern.test(text)) throw new LabelSelectorError(position, `${JSON.stringify(text)} is too long: ${labelRules.value}`);
    this.#index += 1;
    return text;
  }

  /** Returns values in parentheses, each once. As in Kubernetes, a value may be empty, but not all of the parentheses. */
  #values(): string[] {
    if (!this.#accept('(')) throw this.#unexpected('"("');
    if (this.#next.text === ')') throw this.#unexpected('a label value');
    const values = new Set<string>();
    do values.add(this.#value());
    while (this.#accept(','));
    if (!this.#accept(')')) throw this.#unexpected('"," or ")"');
    return [...values];
  }
}

/** Returns a selector or scope as text that `parseLabelSelector` or `parseScope` accepts. */
export function formatLabelSelector(selector: LabelSelector): string {
  return selector.map(formatCondition).join(',');
}

function formatCondition(condition: LabelRequirement | LabelAlternatives): string {
  if ('anyOf' in condition) return condition.anyOf.map((selector) => `(${formatLabelSelector(selector)})`).join(' or ');
  const { key, values, isNegated } = condition;
  if (values === null) return isNegated ? `!${key}` : key;
  const [value = ''] = values;
  if (values.length === 1) return `${key}${isNegated ? '!=' : '='}${value}`;
  return `${key} ${isNegated ? 'notin' : 'in'} (${values.join(',')})`;
}

/** Returns the selector of the devices that have all of these labels. */
export function selectorOfLabels(labels: Readonly<Record<string, string>>): LabelSelector {
  return Object.entries(labels).map(([key, value]) => ({ key, values: [value], isNegated: false }));
}

/** Returns whether labels meet all conditions of a selector. */
export function matchesLabelSelector(selector: LabelSelector, labels: ReadonlyMap<string, string>): boolean {
  return selector.every((condition) => {
    if ('anyOf' in condition) return condition.anyOf.some((one) => matchesLabelSelector(one, labels));
    const { key, values, isNegated } = condition;
    const value = labels.get(key);
    const isMatch = value !== undefined && (values === null || values.includes(value));
    return isMatch !== isNegated;
  });
}
