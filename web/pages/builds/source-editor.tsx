// A source editor with line numbers and compiler diagnostics.

import { useId, useRef } from 'preact/hooks';
import type { Schemas } from '../../../src/client/client.ts';
import { counted } from '../../components/numbers.ts';
import './source-editor.css';

/** Minimum lines shown. */
const minLines = 10;
/** Width of a tab in characters. */
const tabWidth = 4;

type Diagnostic = Schemas['Diagnostic'];
type Parts = {
  readonly source: string;
  /** Maximum characters of the source. */
  readonly limit: number;
  readonly diagnostics: readonly Diagnostic[];
  readonly onChange: (source: string) => void;
};

export function SourceEditor({ source, limit, diagnostics, onChange }: Parts) {
  const area = useRef<HTMLTextAreaElement>(null);
  const found = useId();
  const lines = source.split('\n');
  const shown = Math.max(lines.length, minLines);
  const widest = Math.max(60, ...lines.map((line) => widthOf(line)));
  const goTo = ({ line, column }: Diagnostic) => {
    if (line === null) return;
    const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0) + (column ?? 1) - 1;
    area.current?.focus();
    area.current?.setSelectionRange(start, start);
  };
  return (
    <div class="source">
      <div class="source-frame">
        <pre class="source-numbers" aria-hidden="true">
          {Array.from({ length: shown }, (_, index) => index + 1).join('\n')}
        </pre>
        <div class="source-place" style={{ minWidth: `calc(${widest + 4}ch + 16px)` }}>
          <textarea
            ref={area}
            class="code"
            aria-label="Source"
            aria-describedby={found}
            aria-invalid={diagnostics.some(({ severity }) => severity === 'error')}
            wrap="off"
            rows={shown}
            maxLength={limit}
            spellcheck={false}
            autoComplete="off"
            autoCapitalize="off"
            placeholder="Paste AssemblyScript or WAT here"
            value={source}
            onInput={({ currentTarget }) => onChange(currentTarget.value)}
          />
          <div class="source-marks" aria-hidden="true">
            {diagnostics.map((diagnostic) => (
              <Mark key={keyOf(diagnostic)} diagnostic={diagnostic} line={lines[(diagnostic.line ?? 1) - 1] ?? ''} />
            ))}
          </div>
        </div>
      </div>
      <div id={found} role="alert" class="source-found">
        {diagnostics.length > 0 && (
          <>
            <strong>{sumOf(diagnostics)}</strong>
            <ul>
              {diagnostics.map((diagnostic) => (
                <li key={keyOf(diagnostic)} data-is={diagnostic.severity}>
                  {diagnostic.line !== null && (
                    <button type="button" class="plain code" onClick={() => goTo(diagnostic)}>
                      line {diagnostic.line}
                      {diagnostic.column === null ? '' : `, column ${diagnostic.column}`}
                    </button>
                  )}{' '}
                  <span class="severity">{diagnostic.severity}</span> {diagnostic.message}
                </li>
              ))}
            </ul>
          </>
        )}
      </div>
    </div>
  );
}

const keyOf = ({ line, column, message }: Diagnostic) => `${line}:${column} ${message}`;

function sumOf(diagnostics: readonly Diagnostic[]): string {
  const errors = diagnostics.filter(({ severity }) => severity === 'error').length;
  return errors > 0 ? `Compilation failed: ${counted(errors, 'error')}` : `Compiled with ${counted(diagnostics.length, 'warning')}`;
}

/** Underlines the position of a diagnostic and shows its message after the line. */
function Mark({ diagnostic: { severity, message, line, column }, line: text }: { readonly diagnostic: Diagnostic; readonly line: string }) {
  if (line === null) return null;
  const place = widthOf(text.slice(0, (column ?? 1) - 1));
  const wordLength = /^\w+|^"[^"]*"?|^./.exec(text.slice((column ?? 1) - 1))?.[0].length ?? 1;
  return (
    <div class="source-mark" data-is={severity} style={{ '--line': String(line - 1) }}>
      <span class="source-underline" style={{ left: `${place}ch`, width: `${wordLength}ch` }} />
      <span class="source-message" style={{ left: `${widthOf(text) + 2}ch` }}>
        {message}
      </span>
    </div>
  );
}

/** Returns the width of a text in characters, with tabs expanded. */
function widthOf(text: string): number {
  let width = 0;
  for (const letter of text) width += letter === '\t' ? tabWidth - (width % tabWidth) : 1;
  return width;
}
