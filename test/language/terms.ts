// The words that Patchbay does not use, each with its replacement.

/** Where a term is not used: in every text, or only in the texts that users read (documentation, API, help, messages, dashboard). */
type Scope = 'everywhere' | 'for users';

export type Term = {
  /** A whole word or phrase, case-insensitive. */
  readonly pattern: string;
  /** What to write instead. */
  readonly instead: string;
  readonly scope: Scope;
};

/** A place where a term is right. */
export type Exception = {
  readonly file: string;
  /** The text around the term, as in the file. */
  readonly text: string;
  readonly reason: string;
};

const everywhere = (pattern: string, instead: string): Term => ({ pattern, instead, scope: 'everywhere' });
const forUsers = (pattern: string, instead: string): Term => ({ pattern, instead, scope: 'for users' });

export const terms: readonly Term[] = [
  everywhere('(?<!as )usual', 'default'),
  everywhere('answers?', 'returns, response'),
  everywhere('answered|answering', 'returned, responded'),
  everywhere('anew|once more', 'again'),
  everywhere('who(?:so)?ever', 'the caller, the client, the requester'),
  everywhere('who asks?', 'the caller, the client, the requester'),
  everywhere('carr(?:y|ies|ied|ying) (?:it |them |this |that )?out', 'execute, run, apply'),
  everywhere('(?:is|are|was|were|be|been|being) (?:not )?told', 'logs, reports, shows, notifies'),
  everywhere('tells?|telling', 'logs, reports, shows, prints, notifies'),
  everywhere('go(?:es|ing)? on|went on|gone on', 'continues, resumes'),
  everywhere('nobody|somebody', 'the name of the person, program or thing'),
  everywhere('all that', 'the name of the thing'),
  everywhere('holds? for', 'settings of, applies to'),
  everywhere('manners', 'conventions'),
  everywhere('(?:a|the|its|every|each|no|newest|last|open|ended|of) stays?', 'residency'),
  everywhere('holds? on to|held on to', 'has a stale address'),
  everywhere('good so far|too much', 'within limit, limit exceeded'),
  everywhere('as many as may be|may be had', 'limit reached (100 loads per device)'),
  everywhere('has gone|had gone|have gone', 'was removed'),
  everywhere('heard of|hear of|hears of', 'last contact, connected'),
  everywhere('what came of|came of it|what comes of|what became of|what has become of', 'the result, the outcome'),
  everywhere('it would come to', 'Preview'),
  everywhere('beside each other', 'in one batch, concurrently'),
  everywhere('the turn to|turns? is had|is had', 'write lock'),
  everywhere('is found out', 'faults and is reported'),
  everywhere('of no use', 'stops working'),
  everywhere('of which none|none of which|of whom', 'a sentence of its own'),
  everywhere('that which|those who|that of which', 'the name of the thing'),
  everywhere('(?:not|is|are) well(?! formed)', 'healthy, unhealthy'),
  everywhere('some chance', 'jitter'),
  everywhere('evenwhen|where it is asked', 'exempt, required'),
  forUsers('(?:the|at) (?:least|most)(?! recent)', 'minimum, maximum, up to'),
];

/** Words that are not used in names of the code. */
export const nameWords: ReadonlyMap<string, string> = new Map([
  ['usual', 'default'],
  ['anew', 'again'],
  ['whoever', 'caller'],
  ['nobody', 'the name of the actor'],
  ['somebody', 'the name of the actor'],
  ['answer', 'response'],
  ['answers', 'returns, responses'],
  ['answered', 'responded'],
  ['told', 'notified, reported'],
  ['tell', 'notify, report'],
  ['tells', 'notifies, reports'],
  ['manners', 'conventions'],
  ['stay', 'residency'],
  ['stays', 'residencies'],
  ['hasten', 'trigger'],
  ['bury', 'reap'],
  ['wish', 'request'],
]);

export const exceptions: readonly Exception[] = [
  {
    file: 'src/service/secrets.ts',
    text: 'patchbay sealed answer',
    reason: 'The input of a key derivation (HKDF): another text could not decrypt stored responses.',
  },
];
