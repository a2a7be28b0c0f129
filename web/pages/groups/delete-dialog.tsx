// The dialog that deletes a group.

import { assertSuccess, type Schemas } from '../../../src/client/client.ts';
import { Dialog } from '../../components/dialog.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { useAction } from '../../session/action.ts';
import { useSignedIn } from '../../session/session.tsx';

type Parts = { readonly group: Schemas['Group']; readonly onClose: () => void };

export function DeleteDialog({ group: { id, name }, onClose }: Parts) {
  const { client } = useSignedIn();
  const deleting = useAction(
    async () => assertSuccess(await client.DELETE('/v1/groups/{group}', { params: { path: { group: id } } })),
    onClose,
  );
  const submit = (event: Event) => {
    event.preventDefault();
    deleting.run();
  };
  return (
    <Dialog heading={`Delete ${name}`} onClose={onClose}>
      <form onSubmit={submit}>
        <p>Its devices are not changed. A group that a signature policy or an assignment uses cannot be deleted.</p>
        {deleting.failure !== null && <FailureNotice failure={deleting.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={deleting.isUnderWay}>
            {deleting.isUnderWay ? 'Sending…' : 'Delete the group'}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
