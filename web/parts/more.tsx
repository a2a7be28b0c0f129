// The end of a list: how many items are shown, and how to see more.

import type { Pages } from '../live/pages.ts';

type Parts = { readonly pages: Pick<Pages<unknown>, 'more' | 'isCut' | 'damaged'>; readonly shown: number; readonly what: string };

export function More({ pages: { more, isCut, damaged }, shown, what }: Parts) {
  return (
    <div class="more">
      <span class="soft" role="status">
        {isCut
          ? `Showing the first ${shown} ${what}, the maximum. Use the filters to find others.`
          : `${shown} ${what} shown${more === null ? '' : ', more available'}.`}
        {damaged > 0 && ` ${damaged} hidden because of damaged database rows. The fleet health lists them.`}
      </span>
      {more !== null && (
        <button type="button" onClick={more}>
          Show more
        </button>
      )}
    </div>
  );
}
