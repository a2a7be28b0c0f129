// Collects the lines that a logger under test writes.

import { z } from 'zod';

const Line = z.record(z.string(), z.unknown());

export class LogLines {
  text = '';

  write(text: string): void {
    this.text += text;
  }

  /** Returns the JSON lines with these properties. */
  with(facts: Readonly<Record<string, unknown>>): Record<string, unknown>[] {
    const lines = this.text.split('\n').filter((line) => line.startsWith('{') && line.endsWith('}'));
    return lines
      .map((line) => Line.parse(JSON.parse(line)))
      .filter((line) => Object.entries(facts).every(([name, value]) => JSON.stringify(line[name]) === JSON.stringify(value)));
  }
}
