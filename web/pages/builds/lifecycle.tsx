// Yanks, unyanks and deletes a build.

import { useState } from 'preact/hooks';
import { assertSuccess, type Schemas, unwrapResponse } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { Text } from '../../components/fields.tsx';
import { ObjectName } from '../../components/object-name.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { Timestamp } from '../../components/times.tsx';
import { navigate } from '../../navigation/location.ts';
import { modulePath } from '../../navigation/paths.ts';
import { type Action, useAction } from '../../session/action.ts';
import type { Names } from '../../session/names.ts';
import { useSignedIn } from '../../session/session.tsx';

type Build = Pick<Schemas['Build'], 'module' | 'version' | 'yanked'>;
type Parts = { readonly build: Build; readonly onDone: () => void };

/** The buttons that yank and delete a build, with their dialogs. */
export function LifecycleActions({ build, onDone }: Parts) {
  const { mayAcrossFleet } = useSignedIn();
  const [open, setOpen] = useState<'yank' | 'delete' | null>(null);
  const close = () => setOpen(null);
  const closeAndRefresh = () => {
    close();
    onDone();
  };
  return (
    <>
      {mayAcrossFleet('publisher') && (
        <button type="button" onClick={() => setOpen('delete')}>
          Delete…
        </button>
      )}
      {mayAcrossFleet('operator') && build.yanked === null && (
        <button type="button" onClick={() => setOpen('yank')}>
          Yank…
        </button>
      )}
      {mayAcrossFleet('operator') && build.yanked !== null && <UnyankButton build={build} onDone={onDone} />}
      {open === 'yank' && <YankDialog build={build} onDone={closeAndRefresh} onClose={close} />}
      {open === 'delete' && <DeleteDialog build={build} onClose={close} />}
    </>
  );
}

/** Says how a build was yanked. */
export function YankedNotice({ yanked, names }: { readonly yanked: NonNullable<Build['yanked']>; readonly names: Names }) {
  return (
    <p class="notice" data-is="warning">
      Yanked <Timestamp at={yanked.at} /> by <ObjectName id={yanked.by} names={names} />: {yanked.reason}. Nothing new can use this build;
      devices that have it keep it.
    </p>
  );
}

function UnyankButton({ build: { module, version }, onDone }: Parts) {
  const { client } = useSignedIn();
  const action = useAction(async (headers) => {
    const call = { params: { path: { module, version } }, headers };
    return unwrapResponse(await client.POST('/v1/modules/{module}/builds/{version}/unyank', call));
  }, onDone);
  return (
    <>
      <button type="button" disabled={action.isUnderWay} onClick={action.run}>
        Unyank
      </button>
      {action.failure !== null && <FailureNotice failure={action.failure} />}
    </>
  );
}

function YankDialog({ build: { module, version }, onDone, onClose }: Parts & { readonly onClose: () => void }) {
  const { client } = useSignedIn();
  const [reason, setReason] = useState('');
  const action = useAction(async (headers) => {
    const call = { params: { path: { module, version } }, body: { reason: reason.trim() }, headers };
    return unwrapResponse(await client.POST('/v1/modules/{module}/builds/{version}/yank', call));
  }, onDone);
  const submit = (event: Event) => {
    event.preventDefault();
    action.run();
  };
  return (
    <Dialog heading={`Yank ${module}@${version}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>
          Nothing new can use the build: no load, rollout, patch set or rollback to it. Open rollouts of it pause, and its queued loads are
          cancelled. Devices that have it keep it. Unyank it to undo this.
        </p>
        <Text label="Reason" pointer="/reason" placeholder="it drops packets under load" required value={reason} onChange={setReason} />
        <Buttons action={action} text="Yank the build" onClose={onClose} />
      </form>
    </Dialog>
  );
}

function DeleteDialog({ build: { module, version }, onClose }: Omit<Parts, 'onDone'> & { readonly onClose: () => void }) {
  const { client } = useSignedIn();
  const action = useAction(
    async () => assertSuccess(await client.DELETE('/v1/modules/{module}/builds/{version}', { params: { path: { module, version } } })),
    () => navigate(modulePath(module)),
  );
  const submit = (event: Event) => {
    event.preventDefault();
    action.run();
  };
  return (
    <Dialog heading={`Delete ${module}@${version}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>
          Deletes the build and its image. This works only if no device ever had it, and no load, rollout or patch set names it. Otherwise
          yank it. This cannot be undone.
        </p>
        <Buttons action={action} text="Delete the build" onClose={onClose} />
      </form>
    </Dialog>
  );
}

type ButtonParts = { readonly action: Action; readonly text: string; readonly onClose: () => void };

function Buttons({ action, text, onClose }: ButtonParts) {
  return (
    <>
      {action.failure !== null && <FailureNotice failure={action.failure} />}
      <div class="buttons">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="submit" class="main" disabled={action.isUnderWay}>
          {action.isUnderWay ? 'Sending…' : text}
        </button>
      </div>
    </>
  );
}
