// The dialog that shows a new secret, once.

import { Dialog } from '../../components/dialog.tsx';

type Parts = { readonly name: string; readonly secret: string; readonly onClose: () => void };

export function SecretDialog({ name, secret, onClose }: Parts) {
  return (
    <Dialog heading={`Secret of ${name}`} onClose={onClose}>
      <p>Copy the secret now: it is shown only once. Receivers verify the signature of each message with it.</p>
      <p>
        <code>{secret}</code>
      </p>
      <div class="buttons">
        <button type="button" class="main" onClick={onClose}>
          Done
        </button>
      </div>
    </Dialog>
  );
}
