// Tells what is over when the database is back from what is a mistake of ours.

export { isDatabaseAway } from '../store/postgresql/away.ts';
