// Colours of load outcomes.

import type { Schemas } from '../../client/client.ts';
import { outcomeCategories } from '../../client/enum-values.ts';
import { colour } from './colours.ts';

const categoryFormats = { succeeded: 'green', refused: 'yellow', failed: 'red' } as const;

/** Returns an outcome in the colour of its category. */
export function colourOutcome(outcome: Schemas['LoadOutcome'], stream: NodeJS.WriteStream = process.stdout): string {
  return colour(categoryFormats[outcomeCategories[outcome]], outcome, stream);
}
