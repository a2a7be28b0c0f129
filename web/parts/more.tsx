// The end of a list: how many items are shown, and how to see more.

import type { Pages } from '../live/pages.ts';

type Parts = { readonly pages: Pick<Pages<unknown>, 'more' | 'isCut' | 'damaged'>; readonly shown: number; readonly what: string };

export function More({ pages: { more, isCut, damaged }, shown, what }: Parts) {
  return (
    <div class="more">
      <span class="soft" role="status">
        {isCut
          ? `The first ${shown} ${what} are shown, as many as may be: narrow the list with the filters to see others.`
          : `${shown} ${what} shown${more === null ? '' : ', and there are more'}.`}
        {damaged > 0 && ` ${damaged} cannot be shown: stored rows are damaged, and the health of the fleet names them.`}
      </span>
      {more !== null && (
        <button type="button" onClick={more}>
          Show more
        </button>
      )}
    </div>
  );
}
