// A file of the service is saved. It is asked for with the key in a header, for an address with a key in it would be kept in many places: so it is
// gathered here, and then handed to the browser.

import { useEffect, useRef, useState } from 'preact/hooks';
import { type Failure, failureOf, localFailure, wasGivenUp } from '../live/failure.ts';
import { FailureNotice } from './shown.tsx';

/** Bytes that are gathered, for all of them are in memory at once. */
const mostBytes = 64 * 1024 * 1024;
const megabyte = 1_000_000;
/** Milliseconds for which the browser may take what it was handed. */
const handedFor = 60_000;

type Parts = {
  readonly label: string;
  /** What the file is called, and what is in it. */
  readonly name: string;
  readonly type: string;
  readonly ask: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>;
  /** How to get a file that is larger than what is saved here. */
  readonly otherwise: string;
};

export function Download({ label, name, type, ask, otherwise }: Parts) {
  const [bytes, setBytes] = useState<number | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const underWay = useRef<AbortController | null>(null);
  useEffect(() => () => underWay.current?.abort(), []);
  const stop = () => {
    underWay.current?.abort();
    underWay.current = null;
    setBytes(null);
  };
  const run = async () => {
    const controller = new AbortController();
    underWay.current = controller;
    setFailure(null);
    setBytes(0);
    try {
      const parts = await gathered(await ask(controller.signal), setBytes, controller.signal);
      if (controller.signal.aborted) return;
      if (parts === null) setFailure(tooLarge(otherwise));
      else handOver(new Blob(parts, { type }), name);
    } catch (error) {
      if (controller.signal.aborted || wasGivenUp(error)) return;
      setFailure(failureOf(error));
    }
    setBytes(null);
  };
  return (
    <>
      <button type="button" onClick={bytes === null ? run : stop}>
        {bytes === null ? label : `Stop download (${(bytes / megabyte).toFixed(1)} MB)`}
      </button>
      {failure !== null && <FailureNotice failure={failure} />}
    </>
  );
}

/** All that comes of a stream; null where that is more than may be gathered. */
async function gathered(
  stream: ReadableStream<Uint8Array>,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>[] | null> {
  const reader = stream.getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return parts;
      bytes += value.length;
      if (bytes > mostBytes) return null;
      parts.push(new Uint8Array(value));
      onBytes(bytes);
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

function tooLarge(otherwise: string): Failure {
  return localFailure(`The file exceeds the limit of ${mostBytes / 1024 / 1024} MiB`, otherwise);
}

function handOver(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), handedFor);
}
