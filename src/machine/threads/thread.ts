// An execution thread: a WebAssembly stack that the processor suspends and resumes, with the stack of images that it is inside of.

import { threadBlock } from '../abi.ts';
import { SavedStacks, type StackMemory } from '../memory/c-stack.ts';
import { type CallSample, CallSampler } from './call-sampler.ts';
import type { ThreadGroup } from './run-queue.ts';
import type { Link } from './thread-queue.ts';

/** What an access did outside its own stack. */
export type Effect = { readonly channel: number; readonly value: bigint };

/** How a thread's run of its code ended. */
export type Ending =
  | { readonly kind: 'returned' }
  /** An injected error came out of the code: aimed at none of its accesses, or at one that had no retries left. */
  | { readonly kind: 'injected'; readonly aim: number; readonly frames: readonly Frame[] }
  /** A trap, or an error of a kernel function. `frames`: the images that the thread was inside of, outermost first. */
  | { readonly kind: 'trapped'; readonly error: unknown; readonly frames: readonly Frame[] };

/** One image that a thread is inside of. */
export type Frame = {
  readonly record: number;
  /** Whether it was entered by a hard-coded address, past the module table. */
  readonly isBypass: boolean;
};

/** Who a thread runs for. */
export interface ThreadOwner {
  /** Its name in messages. */
  readonly id: string;
  /** A call was served by another image than the thread's call before; the block still counts the calls of the one before. */
  onVersionSwitch(thread: Thread, record: number): void;
  /** Calls of the version that the block names were measured by one of them. */
  onCallsMeasured(thread: Thread, sample: CallSample): void;
  /** The thread's driver is to ask the processor at its next safepoint. */
  exhaustFuel(): void;
  /** A call completed, and with it these effects. */
  onCommit(thread: Thread, effects: readonly Effect[]): void;
  /** The thread's code has ended. It runs again if the owner says `again`, stays for the owner to enter it if `idle`, and is gone otherwise. */
  onEnd(thread: Thread, ending: Ending): 'again' | 'idle' | 'gone';
}

/** What the thread does when it next gets the processor. */
export type Continuation =
  | { readonly kind: 'begin' }
  | { readonly kind: 'resume'; readonly resolve: () => void; readonly reject: (error: unknown) => void }
  /** It has the processor. */
  | { readonly kind: 'running' };

export const begin = { kind: 'begin' } as const;
export const running = { kind: 'running' } as const;

/** What is to be thrown into a thread when it next gets the processor. */
export type Injection = {
  /** The frame that it is aimed at; `threadAim` for the thread as a whole. */
  readonly target: number;
  /** Told if the error comes out of the thread's code: no access took it. */
  readonly onUncaught: () => void;
  /** The image that the retry will enter, where it is known. */
  readonly retryIn: { exhaustFuel(): void } | null;
};

/** Why a thread waits at the entry of an image: another thread owns the image, or a garbage collection is due. */
export type Wait = { readonly kind: 'ownership' | 'collection'; readonly record: number };

export class Thread {
  readonly owner: ThreadOwner;
  readonly group: ThreadGroup<Thread>;
  /** Address of its block in the kernel's memory. */
  readonly block: number;
  /** Runs the thread's code from the beginning, on a stack of its own. */
  begin: () => Promise<unknown> = () => Promise.resolve();
  /** How long one call may take, in milliseconds; null: for ever. */
  readonly callDeadline: number | null;
  readonly sampler = new CallSampler();
  readonly link: Link<Thread> = { queue: null, previous: null, next: null };
  continuation: Continuation = begin;
  /** Top of its stack of images, while it does not have the processor. */
  stack: number;
  /** Effects of the current call so far, while it does not have the processor. */
  effects = 0;
  /** Its first `effects` elements are the effects of the current call; what follows was dropped. */
  readonly effectBuffer: Effect[] = [];
  injection: Injection | null = null;
  /** Calls off what is to wake it. */
  cancelTimer: (() => void) | null = null;
  /** The call that was under way when the thread was last looked at, and when that was first seen. */
  watchedCall = { number: 0, since: 0 };
  /** It was woken because its call has passed its deadline. */
  isOverdue = false;
  /** The image at whose entry it waits; it may have been let in since. Null while it has the processor. */
  entryWait: Wait | null = null;
  /** The C stacks of the images that it is inside of, while it does not have the processor. */
  readonly savedStacks: SavedStacks;

  constructor(owner: ThreadOwner, group: ThreadGroup<Thread>, block: number, callDeadline: number | null, stackMemory: StackMemory) {
    this.savedStacks = new SavedStacks(stackMemory);
    this.owner = owner;
    this.group = group;
    this.block = block;
    this.callDeadline = callDeadline;
    this.stack = block + threadBlock.frames;
  }

  /** Its code has ended: it is inside of nothing, and begins again when it next gets the processor. */
  reset(): void {
    this.stack = this.block + threadBlock.frames;
    this.effects = 0;
    this.savedStacks.clear();
    this.entryWait = null;
    this.continuation = begin;
  }
}

/** An aim that is no access's frame, so that no stub retries and the error ends the thread's code. */
export const wholeThread = 0;
