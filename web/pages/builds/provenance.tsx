// Provenance of a build: the signed statement and its signatures, verified in the browser.

import { useState } from 'preact/hooks';
import { type Client, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Badge } from '../../components/badge.tsx';
import { ObjectName } from '../../components/object-name.tsx';
import { Panel } from '../../components/panel.tsx';
import { FailureNotice, ResourceView } from '../../components/resource-view.tsx';
import { Table } from '../../components/table.tsx';
import { Timestamp } from '../../components/times.tsx';
import { type Failure, failureOf } from '../../live/failure.ts';
import { useResource } from '../../live/resource.ts';
import type { Names } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';
import type { ParsedStatement } from '../../verification/verify.ts';

/** Maximum service and publisher keys whose names are shown, newest first. */
const keyLimit = 200;

type Build = Schemas['Build'];
type Key = { readonly keyId: string; readonly pem: string; readonly whose: string; readonly revokedAt: string | null };
/** The result of the verification in the browser. */
type VerifiedProvenance = {
  readonly statement: ParsedStatement | null;
  readonly good: ReadonlySet<string>;
  readonly signedBy: readonly string[];
};

export function Provenance({ build, names }: { readonly build: Build; readonly names: Names }) {
  const { client } = useSignedIn();
  const [checked, setChecked] = useState<VerifiedProvenance | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [isUnderWay, setUnderWay] = useState(false);
  const keys = useResource('keys', async (signal) => knownKeys(client, signal));
  const check = async (known: ReadonlyMap<string, Key>) => {
    setUnderWay(true);
    setFailure(null);
    try {
      setChecked(await checkSignatures(client, build, [...known.values()]));
    } catch (error) {
      setFailure(failureOf(error));
    }
    setUnderWay(false);
  };
  const known = keys.data;
  return (
    <Panel
      heading="Provenance"
      class="wide provenance"
      actions={
        <button type="button" disabled={known === null || isUnderWay} onClick={() => known !== null && check(known)}>
          {isUnderWay ? 'Verifying…' : 'Verify signatures'}
        </button>
      }
    >
      <ResourceView resource={keys} what="the keys">
        {(found) =>
          build.signedBy.length === 0 ? (
            <p class="empty">This build has no signatures. Hosts that require signatures refuse it.</p>
          ) : (
            <Table
              caption="Signatures"
              rows={build.signedBy}
              keyOf={(keyId) => keyId}
              columns={[
                { heading: 'Signed by', cell: (keyId) => <Signer keyId={keyId} known={found.get(keyId)} /> },
                { heading: 'Key', isWide: true, cell: (keyId) => <code>{keyId}</code> },
                ...(checked === null
                  ? []
                  : [
                      {
                        heading: 'Signature',
                        cell: (keyId: string) => <SignatureBadge checked={checked} keyId={keyId} isKnown={found.has(keyId)} />,
                      },
                    ]),
              ]}
            />
          )
        }
      </ResourceView>
      <div class="provenance-found" role="status">
        {checked !== null && <Statement checked={checked} build={build} names={names} />}
      </div>
      {failure !== null && <FailureNotice failure={failure} />}
    </Panel>
  );
}

async function knownKeys(client: Client, signal: AbortSignal): Promise<ReadonlyMap<string, Key>> {
  const params = { query: { limit: keyLimit } };
  const [own, publishers] = await Promise.all([
    client.GET('/v1/signing-keys', { params, signal }).then(unwrapResponse),
    client.GET('/v1/publisher-keys', { params, signal }).then(unwrapResponse),
  ]);
  const keys = [
    ...own.items.map(({ keyId, publicKey }) => ({ keyId, pem: publicKey, whose: 'the service', revokedAt: null })),
    ...publishers.items.map(({ keyId, publicKey, name, revokedAt }) => ({ keyId, pem: publicKey, whose: `publisher ${name}`, revokedAt })),
  ];
  return new Map(keys.map((key) => [key.keyId, key]));
}

async function checkSignatures(client: Client, { module, version }: Build, keys: readonly Key[]): Promise<VerifiedProvenance> {
  const { validSigners, statementIn } = await import('../../verification/verify.ts');
  const envelope = unwrapResponse(
    await client.GET('/v1/modules/{module}/builds/{version}/provenance', { params: { path: { module, version } } }),
  );
  return {
    statement: statementIn(envelope),
    good: validSigners(envelope, keys),
    signedBy: envelope.signatures.map(({ keyid }) => keyid),
  };
}

function Signer({ keyId, known }: { readonly keyId: string; readonly known: Key | undefined }) {
  if (known === undefined) return <span title={keyId}>unknown key</span>;
  return (
    <>
      {known.whose}
      {known.revokedAt !== null && (
        <span class="soft">
          , revoked <Timestamp at={known.revokedAt} />
        </span>
      )}
    </>
  );
}

function SignatureBadge({
  checked,
  keyId,
  isKnown,
}: {
  readonly checked: VerifiedProvenance;
  readonly keyId: string;
  readonly isKnown: boolean;
}) {
  if (!isKnown) return <Badge tone="plain">not verified</Badge>;
  return checked.good.has(keyId) ? <Badge tone="good">valid</Badge> : <Badge tone="bad">invalid</Badge>;
}

type StatementParts = { readonly checked: VerifiedProvenance; readonly build: Build; readonly names: Names };

/** Compares the signed statement with the build that the service returned. */
function Statement({ checked: { statement, good }, build, names }: StatementParts) {
  if (statement === null || good.size === 0)
    return (
      <p class="notice" data-is="failed">
        <strong>Provenance not verified</strong>
        <span>
          {statement === null
            ? 'The signed content is not a provenance statement of a build.'
            : 'No known key has a valid signature of this build.'}
        </span>
      </p>
    );
  const isSame =
    statement.module === build.module &&
    statement.version === build.version &&
    statement.imageDigest === build.image.digest &&
    statement.sourceDigest === build.sourceDigest;
  return (
    <div class="notice" data-is={isSame ? 'well' : 'failed'}>
      <strong>{isSame ? 'The signed statement matches this build' : 'The signed statement is about another build'}</strong>
      <dl class="facts">
        <dt>build</dt>
        <dd class="code">
          {statement.module}@{statement.version}
        </dd>
        <dt>image</dt>
        <dd class="code">{statement.imageDigest}</dd>
        <dt>source</dt>
        <dd class="code">{statement.sourceDigest}</dd>
        <dt>compiler</dt>
        <dd>{statement.compiler}</dd>
        <dt>pushed by</dt>
        <dd>{statement.pushedBy === null ? 'unknown' : <ObjectName id={statement.pushedBy} names={names} />}</dd>
      </dl>
      <span class="soft">Verified in this browser. The owners of the keys are as listed by the service.</span>
    </div>
  );
}
