// Colours, only where a terminal shows them and nobody has forbidden them.

import { styleText } from 'node:util';
import type { Schemas } from '../../client/client.ts';
import { outcomeCategories } from '../../client/enum-values.ts';

type Format = Parameters<typeof styleText>[0];

/** The text in a colour if it is for a terminal. */
export function colour(format: Format, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return styleText(format, text, { stream });
}

/** From now on there are no colours: `--no-color` counts before what the environment says. */
export function disableColours(): void {
  delete process.env['FORCE_COLOR'];
  process.env['NO_COLOR'] = '1';
}

const meaningFormats = { loaded: 'green', refused: 'yellow', failed: 'red' } as const;

/** An outcome in the colour of what it means. */
export function colourOutcome(outcome: Schemas['LoadOutcome'], stream: NodeJS.WriteStream = process.stdout): string {
  return colour(meaningFormats[outcomeCategories[outcome]], outcome, stream);
}
