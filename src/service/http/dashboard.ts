// Serves the dashboard: static pages built from web/ by Vite and read once at startup. They use only the public API.

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

/** Pages, and the worker that their windows share, may load their own assets and call the service that served them. */
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

/** Assets have a digest in their name and never change; the page that refers to them is revalidated on each request. */
const immutable = 'public, max-age=31536000, immutable';
const revalidate = 'no-cache';

const notBuilt =
  '<!doctype html><html lang="en"><title>Patchbay</title><p>The dashboard is not built: run <code>npm run build:dashboard</code> in the folder of the service and restart the service. The API is at <code>/v1</code>, its documentation at <a href="/documentation">/documentation</a>.';

type StaticFile = {
  readonly body: Buffer;
  /** Returns the body compressed with gzip; compresses it on the first call. */
  readonly compressed: () => Buffer;
  readonly mediaType: string;
  readonly etag: string;
};
type RequestHeaders = z.output<typeof ifNoneMatchHeaders>;

/** Adds the routes of the pages and their assets. @param folder The build output; if it does not exist, the pages show how to build the dashboard. */
export function addDashboard(app: Api, folder = builtFolder): void {
  const page = readStaticFile(folder, 'index.html') ?? toStaticFile(Buffer.from(notBuilt), '.html');
  const options = { config: { access: 'public' }, schema: { hide: true, headers: ifNoneMatchHeaders } } as const;
  for (const { path } of pagePaths)
    app.get(path, options, async ({ headers, url }, reply) => {
      if (!acceptsHtml(headers))
        throw new Problem(
          'not-found',
          `${url.split('?')[0]} is a page of the dashboard and needs Accept: text/html; the API is under /v1, see /documentation`,
        );
      return send(headers, reply.header('cache-control', revalidate), page);
    });
  for (const name of listFiles(`${folder}/assets`)) {
    const asset = readStaticFile(folder, `assets/${name}`);
    if (asset === null) continue;
    app.get(`/assets/${name}`, options, async ({ headers }, reply) => send(headers, reply.header('cache-control', immutable), asset));
  }
}

/** Returns whether the client accepts HTML; API clients do not receive a page. */
function acceptsHtml(headers: RequestHeaders): boolean {
  return /text\/html|\*\/\*/.test(String(headers['accept'] ?? '*/*'));
}

function send(headers: RequestHeaders, reply: FastifyReply, { body, compressed, mediaType, etag }: StaticFile): FastifyReply {
  reply.headers({ 'content-security-policy': contentSecurityPolicy, etag, vary: 'accept, accept-encoding' }).type(mediaType);
  if (matchesIfNoneMatch(headers, etag)) return reply.status(304).send();
  if (!/\bgzip\b/.test(String(headers['accept-encoding'] ?? ''))) return sendRaw(reply, body);
  return sendRaw(reply.header('content-encoding', 'gzip'), compressed());
}

function listFiles(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function readStaticFile(folder: string, name: string): StaticFile | null {
  try {
    return toStaticFile(readFileSync(`${folder}/${name}`), extname(name));
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function toStaticFile(body: Buffer, extension: string): StaticFile {
  const digest = createHash('sha256').update(body).digest('base64url');
  let cached: Buffer | null = null;
  const compressed = () => {
    cached ??= gzipSync(body);
    return cached;
  };
  return { body, compressed, mediaType: mediaTypes[extension] ?? 'application/octet-stream', etag: entityTag(digest) };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
