// Plain tables for the terminal.

import { stripVTControlCharacters } from 'node:util';

/** Characters of the line below a heading. */
const longestRule = 60;

/** Lines of a table: columns as wide as their widest cell, those of numbers to the right. */
export function formatTable(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const widths = headings.map((heading, column) =>
    rows.reduce((widest, row) => Math.max(widest, widthOf(row[column] ?? '')), heading.length),
  );
  const line = (cells: readonly (string | number)[]) =>
    cells
      .map((cell, column) => {
        const space = ' '.repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell)));
        return typeof cell === 'number' ? `${space}${cell}` : `${cell}${space}`;
      })
      .join('  ')
      .trimEnd();
  const rules = widths.map((width) => '─'.repeat(Math.min(width, longestRule)));
  return [line(headings), line(rules), ...rows.map(line)];
}

/** Colours take no room. */
const widthOf = (cell: string | number) => stripVTControlCharacters(String(cell)).length;
