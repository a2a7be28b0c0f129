// How often the webhook pages read their state again.

/** Polling interval in milliseconds: a delivery, also of a parked event, causes no event. */
export const pollInterval = 5_000;
