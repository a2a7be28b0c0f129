// What is shown of a resource: that it is being asked for, why it was not answered, that there is nothing, or the thing itself.

import type { ComponentChildren } from 'preact';
import type { Failure } from '../live/failure.ts';
import type { Resource } from '../live/resource.ts';
import './told.css';

type Parts<Data> = {
  readonly resource: Resource<Data>;
  /** What is being asked for, as in "Loading …". */
  readonly what: string;
  readonly children: (data: Data) => ComponentChildren;
};

export function Shown<Data>({ resource, what, children }: Parts<Data>) {
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

type Noticed = { readonly failure: Failure; readonly refresh?: () => void; readonly since?: string };

/** Says what went wrong, and that it is tried again where it is. */
export function FailureNotice({ failure: { title, detail, request }, refresh, since }: Noticed) {
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
