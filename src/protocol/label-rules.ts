// Rules of label keys and values. Without zod, so that the dashboard can use them too.

/** Maximum labels of a device. */
export const labelLimit = 16;

/** Patterns of label keys and values, shared by registrations, requests and queries, so that a label that one accepts can be found by the others. */
export const labelPatterns = {
  key: '[a-z0-9][a-z0-9._/-]{0,62}',
  /** No control characters: a value with a trailing line break would look like another value. */
  value: String.raw`[^\u0000-\u001f\u007f-\u009f]{0,63}`,
} as const;
/** The patterns as text, for error messages. */
export const labelRules = {
  key: 'a label key is 1 to 63 of a-z, 0-9, ".", "-", "_" and "/", and starts with a letter or digit',
  value: 'a label value is up to 63 characters, without line breaks, tabs or other control characters',
} as const;
