// A table; on a narrow screen, each row is a card.

import type { ComponentChildren } from 'preact';

export type Column<Row> = {
  readonly heading: string;
  readonly isNumber?: boolean;
  /** Whether the cell takes a whole line of a card. */
  readonly isWide?: boolean;
  /** Returns the content; null for an empty cell. */
  readonly cell: (row: Row) => ComponentChildren;
};

type Parts<Row> = {
  /** The caption for screen readers. */
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
};

// Explicit roles: browsers drop table semantics when the style sheet shows rows as cards.
export function Table<Row>({ caption, columns, rows, keyOf }: Parts<Row>) {
  return (
    <div class="table-frame">
      {/* biome-ignore lint/a11y/noRedundantRoles: browsers drop the roles when the style sheet shows rows as cards */}
      <table class="stacks" role="table">
        <caption class="unseen">{caption}</caption>
        {/* biome-ignore lint/a11y/noRedundantRoles: as above */}
        <thead role="rowgroup">
          {/* biome-ignore lint/a11y/noRedundantRoles: as above */}
          <tr role="row">
            {columns.map(({ heading, isNumber = false }) => (
              // biome-ignore lint/a11y/noRedundantRoles: as above
              <th key={heading} role="columnheader" scope="col" class={isNumber ? 'number' : ''}>
                {heading}
              </th>
            ))}
          </tr>
        </thead>
        {/* biome-ignore lint/a11y/noRedundantRoles: as above */}
        <tbody role="rowgroup">
          {rows.map((row) => (
            // biome-ignore lint/a11y/noRedundantRoles: as above
            <tr key={keyOf(row)} role="row">
              {columns.map(({ heading, isNumber = false, isWide = false, cell }) => {
                const content = cell(row);
                const style = `${isNumber ? 'number' : ''} ${isWide ? 'wide-cell' : ''} ${content === null ? 'empty-cell' : ''}`;
                return (
                  // biome-ignore lint/a11y/noRedundantRoles: as above
                  <td key={heading} role="cell" class={style} data-label={heading}>
                    <div>{content}</div>
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
