// Verifies the whole audit trail in the browser against a signed checkpoint.

import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { type Client, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { readLines } from '../../../src/client/read-lines.ts';
import { Badge } from '../../components/badge.tsx';
import { Download } from '../../components/download.tsx';
import { counted, countText } from '../../components/numbers.ts';
import { Panel } from '../../components/panel.tsx';
import { FailureNotice, ResourceView } from '../../components/resource-view.tsx';
import { Timestamp } from '../../components/times.tsx';
import { type Failure, failureOf, isAbort } from '../../live/failure.ts';
import { useResource } from '../../live/resource.ts';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { Verification as Verdict } from '../../verification/verify.ts';
import './verification.css';

/** Maximum signing keys of the service that are read, newest first. */
const keyLimit = 200;
const textLimit = 100_000;

type Checkpoint = Schemas['Checkpoint'];
/** Keys and checkpoint that the user stored elsewhere; empty if not given. */
type Trusted = { readonly keys: string; readonly checkpoint: string };
type Progress = { readonly lines: number; readonly checkpoint: Checkpoint | null };
type Done = { readonly verdict: Verdict; readonly kept: Trusted };
type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'under way'; readonly progress: Progress | null }
  | ({ readonly kind: 'done' } & Done)
  | { readonly kind: 'failed'; readonly failure: Failure };

export function Verification() {
  const { client, may } = useSignedIn();
  const [kept, setKept] = useState<Trusted>({ keys: '', checkpoint: '' });
  const [state, setState] = useState<State>({ kind: 'idle' });
  const underWay = useRef<AbortController | null>(null);
  useEffect(() => () => underWay.current?.abort(), []);
  const newest = useResource('newest', async (signal) => newestCheckpoint(client, signal), { pollMilliseconds: 60_000 });

  const run = async () => {
    underWay.current?.abort();
    const controller = new AbortController();
    underWay.current = controller;
    setState({ kind: 'under way', progress: null });
    try {
      const verdict = await verify(client, kept, (progress) => setState({ kind: 'under way', progress }), controller.signal);
      if (!controller.signal.aborted) setState({ kind: 'done', verdict, kept });
    } catch (error) {
      if (controller.signal.aborted || isAbort(error)) return;
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
      heading="Audit integrity"
      class="verification"
      actions={
        <>
          {may('operator') && (
            <button type="button" disabled={isUnderWay || sign.isUnderWay} onClick={sign.run}>
              Create a checkpoint and verify
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
        <ResourceView resource={newest} what="the latest checkpoint">
          {(checkpoint) => <LatestCheckpoint checkpoint={checkpoint} />}
        </ResourceView>
        <TrustedFields kept={kept} onChange={setKept} />
        <div class="copy">
          <Download
            label="Save the audit trail"
            name="audit-trail.ndjson"
            type="application/x-ndjson"
            fetchFile={async (signal) => unwrapResponse(await client.GET('/v1/audit/export', { parseAs: 'stream', signal }))}
            alternative="The command line has no size limit: patchbay audit export --output trail.ndjson"
          />
          <small class="soft">
            One JSON line per event. <code>patchbay audit verify FILE</code> verifies the file without the service.
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

async function verify(client: Client, kept: Trusted, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<Verdict> {
  const { publicKeyError, verifyTrail } = await import('../../verification/verify.ts');
  const keyError = kept.keys.trim() === '' ? null : publicKeyError(kept.keys);
  if (keyError !== null) return { kind: 'unverifiable', reason: `the public key is not valid: ${keyError}` };
  // Fetched before the events, so that the export contains all events of the checkpoint.
  const { newest } = await newestCheckpoint(client, signal);
  const keys = kept.keys.trim() === '' ? await keysOfService(client, signal) : kept.keys;
  const stream = unwrapResponse(await client.GET('/v1/audit/export', { parseAs: 'stream', signal }));
  return verifyTrail(readLines(stream, signal), {
    checkpoints: [...(kept.checkpoint.trim() === '' ? [] : [noteOf(kept.checkpoint)]), ...(newest === null ? [] : [newest.note])],
    keys,
    onProgress: (lines) => onProgress({ lines, checkpoint: newest }),
  });
}

/** Restores the final line feed of a signed note, which pasting loses. */
const noteOf = (text: string) => `${text.trim().replaceAll('\r\n', '\n')}\n`;

async function keysOfService(client: Client, signal: AbortSignal): Promise<string> {
  const { items } = unwrapResponse(await client.GET('/v1/signing-keys', { params: { query: { limit: keyLimit } }, signal }));
  return items.map(({ publicKey }) => publicKey).join('\n');
}

function failureOfVerifying(error: unknown): Failure {
  const failure = failureOf(error);
  return failure.status === null ? { ...failure, detail: `The audit trail was not read completely. ${failure.detail}` } : failure;
}

function LatestCheckpoint({ checkpoint: { newest } }: { readonly checkpoint: { readonly newest: Checkpoint | null } }) {
  if (newest === null) return <p>No checkpoint yet. The service signs one per minute while events are written.</p>;
  return (
    <details>
      <summary>
        Latest checkpoint: <Timestamp at={newest.at} />, {counted(newest.size, 'event')}
      </summary>
      <pre class="note code">{newest.note}</pre>
      <p class="soft">Store it outside of the service. It proves later that events were only appended since.</p>
    </details>
  );
}

function TrustedFields({ kept, onChange }: { readonly kept: Trusted; readonly onChange: (kept: Trusted) => void }) {
  return (
    <details>
      <summary>Verify against your own public key or checkpoint</summary>
      <div class="fields">
        <Area
          label="Public keys (PEM)"
          placeholder="-----BEGIN PUBLIC KEY-----"
          value={kept.keys}
          onChange={(keys) => onChange({ ...kept, keys })}
        >
          Default: the keys that the service lists as its own. <code>patchbay signing-key list --pem</code>
        </Area>
        <Area
          label="Earlier checkpoint"
          placeholder="patchbay/…"
          value={kept.checkpoint}
          onChange={(checkpoint) => onChange({ ...kept, checkpoint })}
        >
          Checked in addition to the latest checkpoint. <code>patchbay audit checkpoint</code>
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
  if (progress === null) return <p>Reading the audit trail…</p>;
  const { lines, checkpoint } = progress;
  const size = checkpoint?.size ?? lines;
  return (
    <p class="verifying">
      <progress max={Math.max(size, lines)} value={lines} aria-label="Verified events" />{' '}
      <span aria-hidden="true">{countText(lines)} lines verified</span>
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
            The audit trail was changed:{' '}
            {first === last ? `event ${countText(first)} is invalid` : `one of events ${countText(first)} to ${countText(last)} is invalid`}
          </strong>
          <span>{reason}.</span>
          {first > 1 && (
            <span>
              The {counted(first - 1, 'event')} before {first === 2 ? 'is' : 'are'} valid.
            </span>
          )}
        </div>
      );
    }
    case 'unverifiable':
      return (
        <div class="notice" data-is="warning">
          <strong>Not verified</strong>
          <span>{verdict.reason}.</span>
        </div>
      );
    case 'intact':
      return <IntactTrail {...verdict} isPinned={kept.keys.trim() !== ''} />;
  }
}

function IntactTrail({ first, last, checkpoint, isPinned }: Extract<Verdict, { kind: 'intact' }> & { readonly isPinned: boolean }) {
  return (
    <div class="verdict">
      <p>
        <Badge tone={checkpoint === null ? 'warn' : 'good'}>
          {checkpoint === null ? 'The hash chain is intact, but there is no signed checkpoint' : 'The audit trail is intact'}
        </Badge>
      </p>
      <div class="verdict-parts">
        <section aria-label="Verified">
          <h3>Verified in this browser</h3>
          <ul>
            <li>
              {last < first
                ? 'The audit trail has no events.'
                : `Events ${countText(first)} to ${countText(last)}: each event matches its hash and follows the previous event. No event is missing, added or moved.`}
            </li>
            {first > 1 && (
              <li>
                The {counted(first - 1, 'event')} before were pruned, as recorded in an event. Exports of pruned events can still be
                verified.
              </li>
            )}
            {checkpoint !== null && (
              <li>
                Events up to {countText(checkpoint.size)} match the checkpoint of <Timestamp at={checkpoint.at} />. Its signature is valid:
                key <code>{checkpoint.keyId}</code>,{' '}
                {isPinned ? 'which is your key, or is endorsed by your key' : 'which the service lists as its own'}.
              </li>
            )}
          </ul>
        </section>
        <section aria-label="Not verified">
          <h3>Not verified</h3>
          <ul>
            {!isPinned && checkpoint !== null && (
              <li>
                The signing key belongs to the service. Anyone with write access to its database could have created another key: store the
                key elsewhere and enter it above.
              </li>
            )}
            {checkpoint === null && <li>The audit trail was not rewritten as a whole: there is no checkpoint to compare with.</li>}
            {checkpoint !== null && last > checkpoint.size && (
              <li>{counted(last - checkpoint.size, 'event')} since the checkpoint: in the hash chain, not signed yet.</li>
            )}
            <li>The events are true: the audit trail proves what the service recorded.</li>
            <li>
              This page: the service delivered it. <code>patchbay audit verify</code> runs the same checks with your own code.
            </li>
          </ul>
        </section>
      </div>
    </div>
  );
}
