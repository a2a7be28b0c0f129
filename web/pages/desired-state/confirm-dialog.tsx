// A dialog that confirms a change of a channel or an assignment.

import { Dialog } from '../../components/dialog.tsx';
import { FailureNotice } from '../../components/resource-view.tsx';
import { useAction } from '../../session/action.ts';

type Parts = {
  readonly heading: string;
  /** What happens. */
  readonly text: string;
  /** The label of the button. */
  readonly button: string;
  readonly act: () => Promise<unknown>;
  readonly onClose: () => void;
};

export function ConfirmDialog({ heading, text, button, act, onClose }: Parts) {
  const action = useAction(act, onClose);
  const submit = (event: Event) => {
    event.preventDefault();
    action.run();
  };
  return (
    <Dialog heading={heading} onClose={onClose}>
      <form onSubmit={submit}>
        <p>{text}</p>
        {action.failure !== null && <FailureNotice failure={action.failure} />}
        <div class="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="main" disabled={action.isUnderWay}>
            {action.isUnderWay ? 'Sending…' : button}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
