// A thread: a WebAssembly stack that the processor suspends and resumes, with a frame for each image that it is inside.

import { threadBlock } from '../abi.ts';
import { SavedStacks, type StackMemory } from '../memory/c-stack.ts';
import { type CallSample, CallSampler } from './call-sampler.ts';
import type { ThreadGroup } from './run-queue.ts';
import type { Link } from './thread-queue.ts';

/** A side effect of an access outside its own stack. */
export type Effect = { readonly channel: number; readonly value: bigint };

/** How the thread's code ended. */
export type Ending =
  | { readonly kind: 'returned' }
  /** An injected error left the code: it targeted the whole thread, or an access that had no retries left. */
  | { readonly kind: 'injected'; readonly target: number; readonly frames: readonly Frame[] }
  /** A trap, or an error of a kernel function. `frames`: the images that the thread was inside, outermost first. */
  | { readonly kind: 'trapped'; readonly error: unknown; readonly frames: readonly Frame[] };

/** One image that a thread is inside. */
export type Frame = {
  readonly record: number;
  /** Whether it was entered by a hard-coded address, bypassing the module table. */
  readonly isBypass: boolean;
};

/** What a thread runs for: a program or a host call. */
export interface ThreadOwner {
  /** Its name in messages. */
  readonly id: string;
  /** Called when another image has served a call than the thread's previous one. The block still counts calls of the previous image. */
  onVersionSwitch(thread: Thread, record: number): void;
  /** Called with a sample that stands for calls of the version that the block names. */
  onCallsMeasured(thread: Thread, sample: CallSample): void;
  /** Makes the thread's driver call the processor at its next safepoint. */
  exhaustFuel(): void;
  /** Called with the effects of a completed call. */
  onCommit(thread: Thread, effects: readonly Effect[]): void;
  /** Called when the thread's code has ended. Returns what happens to the thread: its code restarts, it stays idle, or it is removed. */
  onEnd(thread: Thread, ending: Ending): 'restart' | 'idle' | 'remove';
}

/** What the thread does when it next gets the processor. */
export type Continuation =
  | { readonly kind: 'begin' }
  | { readonly kind: 'resume'; readonly resolve: () => void; readonly reject: (error: unknown) => void }
  /** It has the processor. */
  | { readonly kind: 'running' };

export const begin = { kind: 'begin' } as const;
export const running = { kind: 'running' } as const;

/** An error to throw into a thread when it next gets the processor. */
export type Injection = {
  /** The frame that it targets; `wholeThread` for the thread's code as a whole. */
  readonly target: number;
  /** Called if no access caught the error and it left the thread's code. */
  readonly onUncaught: () => void;
  /** The image that the retry will enter, if known. */
  readonly retryIn: { exhaustFuel(): void } | null;
};

/** Why a thread waits at the entry of an image: another thread owns the image, or a garbage collection is due. */
export type Wait = { readonly kind: 'ownership' | 'collection'; readonly record: number };

export class Thread {
  readonly owner: ThreadOwner;
  readonly group: ThreadGroup<Thread>;
  /** Address of its block in kernel memory. */
  readonly block: number;
  /** Runs the thread's code from its start, on a new stack. */
  begin: () => Promise<unknown> = () => Promise.resolve();
  /** Maximum duration of one call in milliseconds; null: no limit. */
  readonly callDeadline: number | null;
  readonly sampler = new CallSampler();
  readonly link: Link<Thread> = { queue: null, previous: null, next: null };
  continuation: Continuation = begin;
  /** End of its frames while it does not have the processor. */
  stack: number;
  /** Number of effects of its current call while it does not have the processor. */
  effects = 0;
  /** The first `effects` elements are the effects of the current call; the rest were dropped. */
  readonly effectBuffer: Effect[] = [];
  injection: Injection | null = null;
  /** Cancels the timer that would wake it. */
  cancelTimer: (() => void) | null = null;
  /** The call seen at the last deadline check, and when it was first seen. */
  watchedCall = { number: 0, since: 0 };
  /** Whether it was woken because its call exceeded its deadline. */
  isOverdue = false;
  /** The image at whose entry it waits; it may have been admitted meanwhile. Null while it has the processor. */
  entryWait: Wait | null = null;
  /** The saved C stacks of the images that it is inside, while it does not have the processor. */
  readonly savedStacks: SavedStacks;

  constructor(owner: ThreadOwner, group: ThreadGroup<Thread>, block: number, callDeadline: number | null, stackMemory: StackMemory) {
    this.savedStacks = new SavedStacks(stackMemory);
    this.owner = owner;
    this.group = group;
    this.block = block;
    this.callDeadline = callDeadline;
    this.stack = block + threadBlock.frames;
  }

  /** Resets a thread whose code has ended: it is inside no image, and starts again when it next gets the processor. */
  reset(): void {
    this.stack = this.block + threadBlock.frames;
    this.effects = 0;
    this.savedStacks.clear();
    this.entryWait = null;
    this.continuation = begin;
  }
}

/** A target that is no access's frame, so that no stub catches the error and it ends the thread's code. */
export const wholeThread = 0;
