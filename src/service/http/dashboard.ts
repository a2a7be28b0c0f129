// The dashboard: pages for browsers, which Vite has built from web/. They are read once, and talk to the service by its public API only.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import { pagePaths } from '../../../web/page-paths.ts';
import { Problem } from '../problem.ts';
import { entityTag, ifNoneMatchHeaders, matchesIfNoneMatch } from './entity-tags.ts';
import { type Api, sendRaw } from './route.ts';

const builtFolder = fileURLToPath(new URL('../../../web/built/', import.meta.url));

/** What a page, and the worker that its windows share, may do: load what comes with it, and ask the service that it came from. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types patchbay-events',
].join('; ');

const mediaTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** A browser may keep what has its digest in its name; the page that names it is asked for each time. */
const forever = 'public, max-age=31536000, immutable';
const askEachTime = 'no-cache';

const notBuilt =
  '<!doctype html><html lang="en"><title>Patchbay</title><p>The dashboard has not been built: run <code>npm run build:dashboard</code> where the service was installed, and start the service again. The API is at <code>/v1</code>, its documentation at <a href="/documentation">/documentation</a>.';

type Served = {
  readonly body: Buffer;
  /** Compressed, when the first asks for it. */
  readonly packed: () => Buffer;
  readonly mediaType: string;
  readonly etag: string;
};
type AskedWith = z.output<typeof ifNoneMatchHeaders>;

/** Adds the pages and what they load. @param folder Where they are built; where nothing is, the pages say what to run. */
export function addDashboard(app: Api, folder = builtFolder): void {
  const page = read(folder, 'index.html') ?? served(Buffer.from(notBuilt), '.html');
  const options = { config: { access: 'public' }, schema: { hide: true, headers: ifNoneMatchHeaders } } as const;
  for (const { path } of pagePaths)
    app.get(path, options, async ({ headers, url }, reply) => {
      if (!takesPages(headers))
        throw new Problem(
          'not-found',
          `${url.split('?')[0]} is a page, for what takes text/html: the API is under /v1, and /documentation lists what there is`,
        );
      return send(headers, reply.header('cache-control', askEachTime), page);
    });
  for (const name of namesIn(`${folder}/assets`)) {
    const asset = read(folder, `assets/${name}`);
    if (asset === null) continue;
    app.get(`/assets/${name}`, options, async ({ headers }, reply) => send(headers, reply.header('cache-control', forever), asset));
  }
}

/** What asks for data is not given a page. */
function takesPages(headers: AskedWith): boolean {
  return /text\/html|\*\/\*/.test(String(headers['accept'] ?? '*/*'));
}

function send(headers: AskedWith, reply: FastifyReply, { body, packed, mediaType, etag }: Served): FastifyReply {
  reply.headers({ 'content-security-policy': contentSecurityPolicy, etag, vary: 'accept, accept-encoding' }).type(mediaType);
  if (matchesIfNoneMatch(headers, etag)) return reply.status(304).send();
  if (!/\bgzip\b/.test(String(headers['accept-encoding'] ?? ''))) return sendRaw(reply, body);
  return sendRaw(reply.header('content-encoding', 'gzip'), packed());
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function read(folder: string, name: string): Served | null {
  try {
    return served(readFileSync(`${folder}/${name}`), extname(name));
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function served(body: Buffer, extension: string): Served {
  const digest = createHash('sha256').update(body).digest('base64url');
  let packed: Buffer | null = null;
  const pack = () => {
    packed ??= gzipSync(body);
    return packed;
  };
  return { body, packed: pack, mediaType: mediaTypes[extension] ?? 'application/octet-stream', etag: entityTag(digest) };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
