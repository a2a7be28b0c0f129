// A table: named, its cells headed, on a narrow screen one card for each row.

import type { ComponentChildren } from 'preact';

export type Column<Row> = {
  readonly heading: string;
  readonly isNumber?: boolean;
  /** Whether it has a line of its own where a row is a card. */
  readonly isWide?: boolean;
  /** What is in the cell; null where it is empty. */
  readonly cell: (row: Row) => ComponentChildren;
};

type Parts<Row> = {
  /** What the table is of; for those who do not see the page around it. */
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
};

// The roles are said, for a browser forgets them where the style sheet has the rows be cards.
export function Table<Row>({ caption, columns, rows, keyOf }: Parts<Row>) {
  return (
    <div class="table-frame">
      {/* biome-ignore lint/a11y/noRedundantRoles: a browser forgets the roles of what the style sheet shows as cards */}
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
