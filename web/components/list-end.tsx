// The footer of a list: number of items shown, and a button for more.

import type { Pages } from '../live/pages.ts';

type Parts = { readonly pages: Pick<Pages<unknown>, 'more' | 'isTruncated' | 'damaged'>; readonly shown: number; readonly what: string };

export function ListEnd({ pages: { more, isTruncated, damaged }, shown, what }: Parts) {
  return (
    <div class="more">
      <span class="soft" role="status">
        {isTruncated
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
