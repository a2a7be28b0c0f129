// Whether the audit trail is as it was written: all of it is read and checked here, in the browser, against a signed checkpoint.

import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { type Client, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { readLines } from '../../../src/client/read-lines.ts';
import { type Failure, failureOf, wasGivenUp } from '../../live/failure.ts';
import { useResource } from '../../live/resource.ts';
import { Badge } from '../../parts/badge.tsx';
import { Download } from '../../parts/download.tsx';
import { counted, countText } from '../../parts/numbers.ts';
import { Panel } from '../../parts/panel.tsx';
import { FailureNotice, Shown } from '../../parts/shown.tsx';
import { Moment } from '../../parts/times.tsx';
import type { Verification as Verdict } from '../../proving/prove.ts';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import './verification.css';

/** Signing keys of the service that are read: the newest, of which each vouches for the next. */
const keyLimit = 200;
const textLimit = 100_000;

type Checkpoint = Schemas['Checkpoint'];
/** What a user has kept elsewhere; empty where they have not. */
type Kept = { readonly keys: string; readonly checkpoint: string };
type Progress = { readonly lines: number; readonly checkpoint: Checkpoint | null };
type Done = { readonly verdict: Verdict; readonly kept: Kept };
type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'under way'; readonly progress: Progress | null }
  | ({ readonly kind: 'done' } & Done)
  | { readonly kind: 'failed'; readonly failure: Failure };

export function Verification() {
  const { client, may } = useSignedIn();
  const [kept, setKept] = useState<Kept>({ keys: '', checkpoint: '' });
  const [state, setState] = useState<State>({ kind: 'idle' });
  const underWay = useRef<AbortController | null>(null);
  useEffect(() => () => underWay.current?.abort(), []);
  const newest = useResource('newest', async (signal) => newestCheckpoint(client, signal), { every: 60_000 });

  const run = async () => {
    underWay.current?.abort();
    const controller = new AbortController();
    underWay.current = controller;
    setState({ kind: 'under way', progress: null });
    try {
      const verdict = await verify(client, kept, (progress) => setState({ kind: 'under way', progress }), controller.signal);
      if (!controller.signal.aborted) setState({ kind: 'done', verdict, kept });
    } catch (error) {
      if (controller.signal.aborted || wasGivenUp(error)) return;
      setState({ kind: 'failed', failure: failureOfVerifying(error) });
    }
  };
  const stop = () => {
    underWay.current?.abort();
    setState({ kind: 'idle' });
  };
  const sign = useAction(
    async (headers) => unwrapResponse(await client.POST('/v1/audit/checkpoints', { headers })),
    () => {
      newest.refresh();
      run();
    },
  );
  const isUnderWay = state.kind === 'under way';
  return (
    <Panel
      heading="Is it as it was written?"
      class="verification"
      actions={
        <>
          {may('operator') && (
            <button type="button" disabled={isUnderWay || sign.isUnderWay} onClick={sign.run}>
              Have a checkpoint signed, and verify
            </button>
          )}
          {isUnderWay ? (
            <button type="button" onClick={stop}>
              Stop
            </button>
          ) : (
            <button type="button" class="main" onClick={run}>
              Verify
            </button>
          )}
        </>
      }
    >
      <div class="panel-body verification-body">
        <Shown resource={newest} what="the newest checkpoint">
          {(checkpoint) => <Newest checkpoint={checkpoint} />}
        </Shown>
        <KeptFields kept={kept} onChange={setKept} />
        <div class="copy">
          <Download
            label="Save the trail"
            name="audit-trail.ndjson"
            type="application/x-ndjson"
            ask={async (signal) => unwrapResponse(await client.GET('/v1/audit/export', { parseAs: 'stream', signal }))}
            otherwise="On the command line there is no limit: patchbay audit export --output trail.ndjson"
          />
          <small class="soft">
            All of it, a line of JSON for each event; <code>patchbay audit verify FILE</code> proves it without the service.
          </small>
        </div>
        {sign.failure !== null && <FailureNotice failure={sign.failure} />}
        <div role="status">
          {state.kind === 'under way' && <ProgressOf progress={state.progress} />}
          {state.kind === 'done' && <Result {...state} />}
        </div>
        {state.kind === 'failed' && <FailureNotice failure={state.failure} refresh={run} />}
      </div>
    </Panel>
  );
}

async function newestCheckpoint(client: Client, signal: AbortSignal): Promise<{ readonly newest: Checkpoint | null }> {
  const { items } = unwrapResponse(await client.GET('/v1/audit/checkpoints', { params: { query: { limit: 1 } }, signal }));
  return { newest: items[0] ?? null };
}

async function verify(client: Client, kept: Kept, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<Verdict> {
  const { faultOfKeys, proveTrail } = await import('../../proving/prove.ts');
  const fault = kept.keys.trim() === '' ? null : faultOfKeys(kept.keys);
  if (fault !== null) return { kind: 'unverifiable', reason: `what is given as a public key is none to trust: ${fault}` };
  // Before the events are read: then all of its events are among them.
  const { newest } = await newestCheckpoint(client, signal);
  const keys = kept.keys.trim() === '' ? await keysOfService(client, signal) : kept.keys;
  const stream = unwrapResponse(await client.GET('/v1/audit/export', { parseAs: 'stream', signal }));
  return proveTrail(readLines(stream, signal), {
    checkpoints: [...(kept.checkpoint.trim() === '' ? [] : [noteOf(kept.checkpoint)]), ...(newest === null ? [] : [newest.note])],
    keys,
    onProgress: (lines) => onProgress({ lines, checkpoint: newest }),
  });
}

/** A note ends with a line feed, which gets lost when it is pasted. */
const noteOf = (text: string) => `${text.trim().replaceAll('\r\n', '\n')}\n`;

async function keysOfService(client: Client, signal: AbortSignal): Promise<string> {
  const { items } = unwrapResponse(await client.GET('/v1/signing-keys', { params: { query: { limit: keyLimit } }, signal }));
  return items.map(({ publicKey }) => publicKey).join('\n');
}

function failureOfVerifying(error: unknown): Failure {
  const failure = failureOf(error);
  return failure.status === null ? { ...failure, detail: `The trail was not read to its end. ${failure.detail}` } : failure;
}

function Newest({ checkpoint: { newest } }: { readonly checkpoint: { readonly newest: Checkpoint | null } }) {
  if (newest === null) return <p>There is no checkpoint yet: the service signs one every minute in which something happens.</p>;
  return (
    <details>
      <summary>
        The newest checkpoint is of <Moment at={newest.at} />, over {counted(newest.size, 'event')}
      </summary>
      <pre class="note code">{newest.note}</pre>
      <p class="soft">Kept elsewhere, it proves later that the trail has only grown since.</p>
    </details>
  );
}

function KeptFields({ kept, onChange }: { readonly kept: Kept; readonly onChange: (kept: Kept) => void }) {
  return (
    <details>
      <summary>Against what you have kept: a public key, a checkpoint</summary>
      <div class="fields">
        <Area
          label="Public keys, in PEM"
          placeholder="-----BEGIN PUBLIC KEY-----"
          value={kept.keys}
          onChange={(keys) => onChange({ ...kept, keys })}
        >
          Without one, the keys are those that the service says are its own. <code>patchbay signing-key list --pem</code>
        </Area>
        <Area
          label="A checkpoint of before"
          placeholder="patchbay/…"
          value={kept.checkpoint}
          onChange={(checkpoint) => onChange({ ...kept, checkpoint })}
        >
          Beside the newest that the service has. <code>patchbay audit checkpoint</code>
        </Area>
      </div>
    </details>
  );
}

type AreaParts = {
  readonly label: string;
  readonly placeholder: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly children: ComponentChildren;
};

function Area({ label, placeholder, value, onChange, children }: AreaParts) {
  const meaning = useId();
  return (
    <div>
      <label>
        <span>{label}</span>
        <textarea
          class="code"
          rows={4}
          spellcheck={false}
          maxLength={textLimit}
          placeholder={placeholder}
          value={value}
          aria-describedby={meaning}
          onInput={({ currentTarget }) => onChange(currentTarget.value)}
        />
      </label>
      <small id={meaning} class="soft">
        {children}
      </small>
    </div>
  );
}

function ProgressOf({ progress }: { readonly progress: Progress | null }) {
  if (progress === null) return <p>Reading the trail…</p>;
  const { lines, checkpoint } = progress;
  const size = checkpoint?.size ?? lines;
  return (
    <p class="verifying">
      <progress max={Math.max(size, lines)} value={lines} aria-label="Events that have been checked" />{' '}
      <span aria-hidden="true">{countText(lines)} lines checked</span>
    </p>
  );
}

function Result({ verdict, kept }: Done) {
  switch (verdict.kind) {
    case 'corrupt': {
      const { first, last, reason } = verdict;
      return (
        <div class="notice" data-is="failed">
          <strong>
            The trail is not as it was written:{' '}
            {first === last ? `event ${countText(first)} is bad` : `one of the events ${countText(first)} to ${countText(last)} is bad`}
          </strong>
          <span>{reason}.</span>
          {first > 1 && (
            <span>
              The {countText(first - 1)} before {first === 2 ? 'is' : 'are'} good.
            </span>
          )}
        </div>
      );
    }
    case 'unverifiable':
      return (
        <div class="notice" data-is="warning">
          <strong>Nothing is proven</strong>
          <span>{verdict.reason}.</span>
        </div>
      );
    case 'intact':
      return <Whole {...verdict} isPinned={kept.keys.trim() !== ''} />;
  }
}

function Whole({ first, last, checkpoint, isPinned }: Extract<Verdict, { kind: 'intact' }> & { readonly isPinned: boolean }) {
  return (
    <div class="verdict">
      <p>
        <Badge tone={checkpoint === null ? 'warn' : 'good'}>
          {checkpoint === null ? 'The trail is linked, and nothing signed is there to prove it' : 'The trail is whole'}
        </Badge>
      </p>
      <div class="verdict-parts">
        <section aria-label="Proven here">
          <h3>Proven here, in this browser</h3>
          <ul>
            <li>
              {last < first
                ? 'There are no events.'
                : `Events ${countText(first)} to ${countText(last)}: each has the content that its hash says, and follows the one before; none is missing, added or moved.`}
            </li>
            {first > 1 && (
              <li>The {countText(first - 1)} before were pruned, as an event of the trail tells: exports of them can still be proven.</li>
            )}
            {checkpoint !== null && (
              <li>
                Those up to {countText(checkpoint.size)} are what the checkpoint of <Moment at={checkpoint.at} /> was made of, and its
                signature is good: by <code>{checkpoint.keyId}</code>,{' '}
                {isPinned ? 'which is a key of yours or one that it vouches for' : 'which the service says is its own'}.
              </li>
            )}
          </ul>
        </section>
        <section aria-label="Not proven">
          <h3>Only the word of the service</h3>
          <ul>
            {!isPinned && checkpoint !== null && (
              <li>
                That this key is its own: whoever can write to its database could have made another. Keep the key elsewhere, and give it
                above.
              </li>
            )}
            {checkpoint === null && <li>That nobody has written the whole trail anew: no checkpoint was there.</li>}
            {checkpoint !== null && last > checkpoint.size && (
              <li>{counted(last - checkpoint.size, 'event')} since the checkpoint: linked, and not yet signed for.</li>
            )}
            <li>That what was written is true: it says what it saw.</li>
            <li>
              This page, which came from it: <code>patchbay audit verify</code> checks the same with code of your own.
            </li>
          </ul>
        </section>
      </div>
    </div>
  );
}
