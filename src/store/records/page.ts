// Pages of a list: how many, after which.

/** The last item of the page before is the cursor; lists go from the newest to the oldest unless they say otherwise. */
export type Page<Cursor> = { readonly limit: number; readonly after: Cursor | null };
