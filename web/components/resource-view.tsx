// Shows a resource: loading, failure, or its data.

import type { ComponentChildren } from 'preact';
import type { Failure } from '../live/failure.ts';
import type { Resource } from '../live/resource.ts';
import './messages.css';

type Parts<Data> = {
  readonly resource: Resource<Data>;
  /** The noun in "Loading …". */
  readonly what: string;
  readonly children: (data: Data) => ComponentChildren;
};

export function ResourceView<Data>({ resource, what, children }: Parts<Data>) {
  const { data, failure, isChanging, refresh } = resource;
  if (data === null)
    return failure === null ? (
      <p class="loading" role="status">
        Loading {what}…
      </p>
    ) : (
      <FailureNotice failure={failure} refresh={refresh} />
    );
  return (
    <>
      {failure !== null && <FailureNotice failure={failure} refresh={refresh} since="Showing the last data received." />}
      <div class={isChanging ? 'shown changing' : 'shown'} aria-busy={isChanging}>
        {children(data)}
      </div>
    </>
  );
}

type NoticeParts = { readonly failure: Failure; readonly refresh?: () => void; readonly since?: string };

/** Shows a failure, with a button to retry. */
export function FailureNotice({ failure: { title, detail, request }, refresh, since }: NoticeParts) {
  return (
    <div class="notice" data-is="failed" role="alert">
      <strong>{title}</strong>
      <span>
        {detail} {since}
      </span>
      {request !== null && (
        <span class="soft">
          Request <code>{request}</code>
        </span>
      )}
      {refresh !== undefined && (
        <span>
          <button type="button" onClick={refresh}>
            Retry
          </button>
        </span>
      )}
    </div>
  );
}
