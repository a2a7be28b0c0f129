// The dialog that promotes a version to a channel, and shows the rollouts that this has started.

import { useRef, useState } from 'preact/hooks';
import { type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { FieldErrors } from '../../components/field-errors.tsx';
import { Choice, Text } from '../../components/fields.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { rolloutPath } from '../../navigation/paths.ts';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly channel: Schemas['Channel']; readonly onClose: () => void };
const kinds = ['module', 'patch set'] as const;

export function PromoteDialog({ channel, onClose }: Parts) {
  const { client } = useSignedIn();
  const [kind, setKind] = useState<(typeof kinds)[number]>('module');
  const [name, setName] = useState('');
  const [version, setVersion] = useState('');
  const [promoted, setPromoted] = useState<Schemas['PromotionResult'] | null>(null);
  const sent = useRef<unknown>(null);
  const body = kind === 'module' ? { module: name, version } : { patchSet: { name, version } };
  const saving = useAction(async (headers) => {
    sent.current = body;
    const params = { path: { channel: channel.id } };
    return unwrapResponse(await client.POST('/v1/channels/{channel}/promotions', { params, body, headers }));
  }, setPromoted);
  const submit = (event: Event) => {
    event.preventDefault();
    saving.run();
  };
  if (promoted !== null) return <PromotedDialog promoted={promoted} channel={channel} onClose={onClose} />;
  const [namePointer, versionPointer] = kind === 'module' ? ['/module', '/version'] : ['/patchSet', '/patchSet/version'];
  return (
    <Dialog heading={`Promote to ${channel.name}`} onClose={onClose}>
      <FieldErrors failure={saving.failure} rejected={sent.current} current={body}>
        <form onSubmit={submit}>
          <p>Starts a rollout for each enforced assignment of which the version is the newest one.</p>
          <Choice label="Kind" value={kind} options={kinds} onChange={setKind} />
          <Text label="Name" pointer={namePointer} placeholder="tcp" required maxLength={63} value={name} onChange={setName} />
          <Text
            label="Version"
            pointer={versionPointer}
            placeholder="1.1.0"
            required
            maxLength={256}
            value={version}
            onChange={setVersion}
          />
          {saving.failure !== null && <FailureNotice failure={saving.failure} />}
          <div class="buttons">
            <button type="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" class="main" disabled={saving.isUnderWay}>
              {saving.isUnderWay ? 'Sending…' : 'Promote'}
            </button>
          </div>
        </form>
      </FieldErrors>
    </Dialog>
  );
}

function PromotedDialog({ promoted, channel, onClose }: Parts & { readonly promoted: Schemas['PromotionResult'] }) {
  return (
    <Dialog heading={`Promoted ${promoted.module}@${promoted.version} to ${channel.name}`} onClose={onClose}>
      {promoted.assignments.length === 0 && <p>No assignment follows the channel with this version in its range.</p>}
      <ul>
        {promoted.assignments.map(({ id, name, rollout, reason }) => (
          <li key={id}>
            {name}: {rollout === null ? `no rollout, because ${reason}` : <a href={rolloutPath(rollout)}>the rollout</a>}
          </li>
        ))}
      </ul>
      <div class="buttons">
        <button type="button" class="main" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}
