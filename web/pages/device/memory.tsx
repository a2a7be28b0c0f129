// The memory map of a device: the owner and state of each page.

import { Module, moduleColour } from '../../components/module.tsx';
import { counted, countText } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { Table } from '../../components/table.tsx';
import type { DeviceDetail } from './device-data.ts';
import './memory.css';

type MemoryMap = NonNullable<DeviceDetail['memoryMap']>;
type Range = MemoryMap['ranges'][number];
/** The states of a page, by what a fetch from it does. */
const pageStates = ['valid', 'nx', 'invalid', 'deleted'] as const;
type PageState = (typeof pageStates)[number];

const meanings: Readonly<Record<PageState, string>> = {
  valid: 'executable',
  nx: 'NX: a fetch faults',
  invalid: 'marked invalid: a fetch faults',
  deleted: 'deleted: a fetch faults, and the address is reserved',
};

const words: Readonly<Record<PageState, string>> = { valid: 'executable', nx: 'NX', invalid: 'invalid', deleted: 'deleted' };

/** Maximum rows drawn; the table lists all ranges. */
const maxRows = 64;
/** Side of a page in the drawing, in SVG units. */
const side = 10;

function pageStateOf({ present, valid, nx }: Range): PageState {
  if (!present) return 'deleted';
  if (!valid) return 'invalid';
  return nx ? 'nx' : 'valid';
}

export function Memory({ device: { memoryMap, moduleTable } }: { readonly device: DeviceDetail }) {
  if (memoryMap === null)
    return (
      <Panel heading="Memory">
        <p class="empty">The device has not reported its memory since the host started.</p>
      </Panel>
    );
  const isCurrent = ({ address, owner }: Range) => moduleTable.some((entry) => entry.module === owner.module && entry.address === address);
  const { usedPages, pages, pageBytes } = memoryMap;
  return (
    <Panel heading="Memory" note={`${counted(usedPages, 'page')} of ${countText(pages)} in use, ${pageBytes / 1024} KiB each`}>
      <div class="panel-body">
        <Drawing map={memoryMap} />
        <Legend ranges={memoryMap.ranges} />
      </div>
      {memoryMap.ranges.length === 0 ? (
        <p class="empty">The memory is empty.</p>
      ) : (
        <Table
          caption="Memory ranges"
          rows={memoryMap.ranges}
          keyOf={({ address, owner }) => `${address} ${owner.module} ${owner.version}`}
          columns={[
            { heading: 'Address', cell: ({ address }) => <code>{address}</code> },
            { heading: 'Pages', isNumber: true, cell: (range) => range.pages },
            { heading: 'Image', cell: ({ owner }) => <Module {...owner} /> },
            { heading: 'State', cell: (range) => <span class={`whole standing ${pageStateOf(range)}`}>{words[pageStateOf(range)]}</span> },
            { heading: 'Module table', cell: (range) => (isCurrent(range) ? 'current' : <span class="soft">replaced</span>) },
          ]}
        />
      )}
    </Panel>
  );
}

function Drawing({ map: { pages, pageBytes, usedPages, ranges } }: { readonly map: MemoryMap }) {
  const columns = pages <= 1_024 ? 32 : pages <= 8_192 ? 64 : 128;
  const allRows = Math.ceil(pages / columns);
  const rows = Math.min(allRows, maxRows);
  const summary = ranges.map(
    (range) => `${range.owner.module} ${range.owner.version} at ${range.address}, ${meanings[pageStateOf(range)]}`,
  );
  return (
    <figure class="memory">
      <svg
        viewBox={`0 0 ${columns * side} ${rows * side}`}
        role="img"
        aria-label={`Memory of ${pages} pages, ${usedPages} in use: ${summary.join('; ') || 'all pages free'}`}
      >
        <defs>
          <pattern id="memory-free" width={side} height={side} patternUnits="userSpaceOnUse">
            <rect x="0.75" y="0.75" width={side - 1.5} height={side - 1.5} class="free" />
          </pattern>
          <pattern id="memory-nx" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <line x1="0" y1="0" x2="0" y2="4" class="hatch" />
          </pattern>
          <pattern id="memory-invalid" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <path d="M0 0V4M0 0H4" class="hatch" />
          </pattern>
        </defs>
        <FreePages pages={Math.min(pages, rows * columns)} columns={columns} />
        {ranges.map((range) => (
          <Pages
            key={`${range.address}-${range.owner.version}`}
            range={range}
            first={Number(range.address) / pageBytes}
            columns={columns}
            rows={rows}
          />
        ))}
      </svg>
      {rows < allRows && (
        <figcaption class="soft">
          The figure shows the first {countText(rows * columns)} of {countText(pages)} pages. The table lists all ranges.
        </figcaption>
      )}
    </figure>
  );
}

function FreePages({ pages, columns }: { readonly pages: number; readonly columns: number }) {
  const whole = Math.floor(pages / columns);
  const rest = pages % columns;
  return (
    <>
      <rect x="0" y="0" width={columns * side} height={whole * side} fill="url(#memory-free)" />
      <rect x="0" y={whole * side} width={rest * side} height={side} fill="url(#memory-free)" />
    </>
  );
}

/** The pages of a range: one rectangle per row. */
function Pages({
  range,
  first,
  columns,
  rows,
}: {
  readonly range: Range;
  readonly first: number;
  readonly columns: number;
  readonly rows: number;
}) {
  const standing = pageStateOf(range);
  const pieces: { x: number; y: number; width: number }[] = [];
  for (let page = first; page < first + range.pages; ) {
    const row = Math.floor(page / columns);
    if (row >= rows) break;
    const until = Math.min(first + range.pages, (row + 1) * columns);
    pieces.push({ x: (page % columns) * side, y: row * side, width: (until - page) * side });
    page = until;
  }
  return (
    <g class={`pages of-module ${standing}`} style={moduleColour(range.owner.module)}>
      <title>
        {range.owner.module}@{range.owner.version}: {counted(range.pages, 'page')} at {range.address}, {meanings[standing]}
      </title>
      {pieces.map(({ x, y, width }) => (
        <g key={`${x} ${y}`}>
          <rect class="ground" x={x + 0.75} y={y + 0.75} width={width - 1.5} height={side - 1.5} />
          {(standing === 'nx' || standing === 'invalid') && (
            <rect x={x + 0.75} y={y + 0.75} width={width - 1.5} height={side - 1.5} fill={`url(#memory-${standing})`} />
          )}
        </g>
      ))}
    </g>
  );
}

function Legend({ ranges }: { readonly ranges: readonly Range[] }) {
  const modules = [...new Set(ranges.map(({ owner }) => owner.module))];
  return (
    <ul class="memory-legend" aria-hidden="true">
      {modules.map((module) => (
        <li key={module}>
          <Module module={module} />
        </li>
      ))}
      {pageStates.map((standing) => (
        <li key={standing} class={`standing ${standing}`}>
          {words[standing]}
        </li>
      ))}
      <li class="standing unused">free</li>
    </ul>
  );
}
