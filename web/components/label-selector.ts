// Label selectors that users type.

import { LabelSelectorError, parseLabelSelector, selectorLimits } from '../../src/protocol/label-selector.ts';

/** Maximum length of a label selector, in characters. */
export const maxSelectorLength = selectorLimits.characters;

/** Returns why a text is not a label selector; null if it is one. */
export function selectorFault(text: string): string | null {
  try {
    parseLabelSelector(text);
    return null;
  } catch (error) {
    if (error instanceof LabelSelectorError) return error.message;
    throw error;
  }
}
