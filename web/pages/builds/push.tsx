// Pushes a build from a file or pasted source, and shows compiler diagnostics at their lines.

import type { ComponentChildren } from 'preact';
import { useId, useRef, useState } from 'preact/hooks';
import type { Schemas } from '../../../src/client/client.ts';
import { sourceLanguages } from '../../../src/client/enum-values.ts';
import { languagesByExtension, pushBuild } from '../../../src/client/push-build.ts';
import { Choice } from '../../components/fields.tsx';
import { counted } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { Suggestions } from '../../components/suggestions.tsx';
import { buildPath } from '../../navigation/paths.ts';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import { SourceEditor } from './source-editor.tsx';
import './builds.css';

/** Limits of the service: bytes of a prebuilt module, characters of a source. */
const prebuiltLimit = 4 * 1024 * 1024;
const sourceLimit = 1024 * 1024;

const nextVersions = ['next-patch', 'next-minor', 'next-major'];

type Diagnostic = Schemas['Diagnostic'];
type Prebuilt = { readonly name: string; readonly content: Uint8Array };
/** The compiler's output and its source. */
type CompilerOutput = { readonly source: string; readonly diagnostics: readonly Diagnostic[] };

type Parts = {
  /** The module of the build; null: the user chooses. */
  readonly module: string | null;
  /** Suggested modules. */
  readonly offered: readonly string[];
};

export function Push({ module: given, offered }: Parts) {
  const { client } = useSignedIn();
  const [module, setModule] = useState(given ?? '');
  const [version, setVersion] = useState('');
  const [source, setSource] = useState('');
  const [prebuilt, setPrebuilt] = useState<Prebuilt | null>(null);
  const [chosen, setChosen] = useState<(typeof sourceLanguages)[number] | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  const [pushed, setPushed] = useState<Schemas['CreatedBuild'] | null>(null);
  const sent = useRef('');
  const language = chosen ?? (/^\s*(\(|;;)/.test(source) ? 'wat' : 'assemblyscript');
  const push = useAction((headers) => {
    sent.current = source;
    setPushed(null);
    const what =
      prebuilt === null
        ? { language, content: new TextEncoder().encode(source) }
        : { language: 'wasm' as const, content: prebuilt.content };
    return pushBuild(client, { module, version, ...what }, headers);
  }, setPushed);
  const take = async (file: File | undefined) => {
    if (file === undefined) return;
    const [, name = '', extension = ''] = /^(.*?)(\.[a-z]+)$/i.exec(file.name) ?? [];
    const found = languagesByExtension.get(extension.toLowerCase());
    const limit = found === 'wasm' ? prebuiltLimit : sourceLimit;
    if (found === undefined)
      return setFault(`${file.name}: unknown file type; expected one of ${[...languagesByExtension.keys()].join(', ')}.`);
    if (file.size > limit) return setFault(`${file.name} is too large: ${counted(file.size, 'byte')} (maximum ${counted(limit, 'byte')}).`);
    setFault(null);
    setPushed(null);
    if (given === null && module === '' && /^[a-z][a-z0-9_-]{0,62}$/.test(name)) setModule(name);
    if (found === 'wasm') return setPrebuilt({ name: file.name, content: new Uint8Array(await file.arrayBuffer()) });
    setPrebuilt(null);
    setChosen(found);
    setSource(await file.text());
  };
  const submit = (event: Event) => {
    event.preventDefault();
    push.run();
  };
  const found = foundOf(push.failure?.diagnostics ?? pushed?.warnings ?? [], sent.current);
  const isEmpty = prebuilt === null && source.trim() === '';
  return (
    <Panel heading="Push a build" class="push">
      <form class="panel-body push-form" onSubmit={submit}>
        <DropZone onFile={take}>
          <div class="fields">
            {given === null && (
              <Offered
                label="Module"
                value={module}
                offered={offered}
                placeholder="tcp"
                pattern="[a-z][a-z0-9_\-]{0,62}"
                onChange={setModule}
              />
            )}
            <Offered
              label="Version"
              value={version}
              offered={nextVersions}
              placeholder="1.2.0 or next-minor"
              pattern=".{1,256}"
              onChange={setVersion}
            />
            {prebuilt === null && <Choice label="Language" value={language} options={sourceLanguages} onChange={setChosen} />}
            <FileField onFile={take} />
          </div>
          {prebuilt === null ? (
            <SourceEditor
              source={source}
              limit={sourceLimit}
              diagnostics={found.source === source ? found.diagnostics : []}
              onChange={(text) => {
                setSource(text);
                setFault(null);
              }}
            />
          ) : (
            <p class="prebuilt">
              <code>{prebuilt.name}</code>, {counted(prebuilt.content.length, 'byte')} of WebAssembly{' '}
              <button type="button" onClick={() => setPrebuilt(null)}>
                Write source code instead
              </button>
            </p>
          )}
        </DropZone>
        <p class="error-message" role="alert">
          {fault}
        </p>
        {push.failure !== null && (push.failure.diagnostics.length === 0 || prebuilt !== null) && <FailureNotice failure={push.failure} />}
        <div role="status">{pushed !== null && <Pushed build={pushed} listsWarnings={prebuilt !== null} />}</div>
        <div>
          <button type="submit" class="main" disabled={isEmpty || push.isUnderWay}>
            {push.isUnderWay ? 'Compiling…' : 'Push'}
          </button>
        </div>
      </form>
    </Panel>
  );
}

const foundOf = (diagnostics: readonly Diagnostic[], source: string): CompilerOutput => ({ source, diagnostics });

type PushedParts = {
  readonly build: Schemas['CreatedBuild'];
  /** Whether the warnings are shown here, because no source shows them. */
  readonly listsWarnings: boolean;
};

function Pushed({ build: { module, version, image, compiler, warnings }, listsWarnings }: PushedParts) {
  return (
    <p class="notice" data-is={warnings.length > 0 ? 'warning' : 'well'}>
      <strong>
        <a href={buildPath(module, version)}>
          {module}@{version}
        </a>{' '}
        pushed
      </strong>
      <span>
        {counted(image.bytes, 'byte')} by {compiler}
        {warnings.length > 0 && `, with ${counted(warnings.length, 'warning')}`}
      </span>
      {listsWarnings && warnings.map(({ message }) => <span key={message}>Warning: {message}.</span>)}
    </p>
  );
}

type FileParts = { readonly onFile: (file: File | undefined) => void };

function FileField({ onFile }: FileParts) {
  return (
    <label>
      <span>Choose a file, or drop it here</span>
      <input
        type="file"
        accept={[...languagesByExtension.keys()].join(',')}
        onChange={({ currentTarget }) => {
          onFile(currentTarget.files?.[0]);
          // Allows the user to choose the same file again after changing it.
          currentTarget.value = '';
        }}
      />
    </label>
  );
}

function DropZone({ onFile, children }: FileParts & { readonly children: ComponentChildren }) {
  const [isOver, setOver] = useState(false);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the file field is the accessible alternative
    <div
      class={isOver ? 'drop over' : 'drop'}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        onFile(event.dataTransfer?.files[0]);
      }}
    >
      {children}
    </div>
  );
}

type OfferedParts = {
  readonly label: string;
  readonly value: string;
  readonly offered: readonly string[];
  readonly placeholder: string;
  readonly pattern: string;
  readonly onChange: (value: string) => void;
};

/** A required text field with suggestions. */
function Offered({ label, value, offered, placeholder, pattern, onChange }: OfferedParts) {
  const list = useId();
  return (
    <label>
      <span>{label}</span>
      <input
        required
        autoComplete="off"
        spellcheck={false}
        list={list}
        pattern={pattern}
        maxLength={256}
        placeholder={placeholder}
        value={value}
        onInput={({ currentTarget }) => onChange(currentTarget.value)}
      />
      <Suggestions id={list} offered={offered} />
    </label>
  );
}
