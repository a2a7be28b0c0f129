// Downloads a file of the service. The key is sent in a header, because a URL with a key would be stored in histories and logs. The page
// therefore collects the file in memory before the browser saves it.

import { useEffect, useRef, useState } from 'preact/hooks';
import { type Failure, failureOf, failureWithoutResponse, isAbort } from '../live/failure.ts';
import { FailureNotice } from './resource-view.tsx';

/** Maximum bytes: the whole file is in memory. */
const maxBytes = 64 * 1024 * 1024;
const megabyte = 1_000_000;
/** Milliseconds until the object URL is revoked. */
const revokeAfter = 60_000;

type Parts = {
  readonly label: string;
  /** The file name. */
  readonly name: string;
  readonly type: string;
  readonly fetchFile: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>;
  /** How to download a file that exceeds the limit. */
  readonly alternative: string;
};

export function Download({ label, name, type, fetchFile, alternative }: Parts) {
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
      const parts = await collectChunks(await fetchFile(controller.signal), setBytes, controller.signal);
      if (controller.signal.aborted) return;
      if (parts === null) setFailure(tooLarge(alternative));
      else saveFile(new Blob(parts, { type }), name);
    } catch (error) {
      if (controller.signal.aborted || isAbort(error)) return;
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

/** Returns the chunks of a stream; null if they exceed the limit. */
async function collectChunks(
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
      if (bytes > maxBytes) return null;
      parts.push(new Uint8Array(value));
      onBytes(bytes);
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

function tooLarge(alternative: string): Failure {
  return failureWithoutResponse(`The file exceeds the limit of ${maxBytes / 1024 / 1024} MiB`, alternative);
}

function saveFile(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), revokeAfter);
}
