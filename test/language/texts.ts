// The texts of the project that people read: Markdown, the OpenAPI document, and the comments, strings and names of the code.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import ts from 'typescript';

export type Text = {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly kind: 'markdown' | 'openapi' | 'comment' | 'string' | 'name';
  readonly content: string;
};

/** Files that a tool writes, and the term list itself. */
const excluded = /(^|\/)(generated|built|node_modules|expected)\/|package-lock|^test\/language\//;

/** Returns the files of the working tree that Git knows, relative to the folder. */
function files(folder: string): string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: folder, encoding: 'utf8' });
  return listed.split('\n').filter((file) => file !== '' && !excluded.test(file));
}

/**
 * Returns every text of the project.
 * @throws {Error} The folder is not a working tree of Git.
 */
export function projectTexts(folder: string): Text[] {
  return files(folder).flatMap((file) => {
    if (!/\.(md|ts|tsx|json)$/.test(file)) return [];
    const source = readFileSync(`${folder}/${file}`, 'utf8');
    if (file.endsWith('.md')) return markdownTexts(file, source);
    if (file === 'openapi/openapi.json') return openApiTexts(file, source);
    return /\.tsx?$/.test(file) ? codeTexts(file, source) : [];
  });
}

/** Returns the paragraphs of a Markdown file without code and addresses. */
export function markdownTexts(file: string, source: string): Text[] {
  const prose = source
    .replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, (block) => block.replaceAll(/[^\n]/g, ''))
    .replaceAll(/<!--[\s\S]*?-->/g, (comment) => comment.replaceAll(/[^\n]/g, ''));
  return prose.split('\n').flatMap((content, index): Text[] => {
    const words = withoutCode(content.replaceAll(/\]\([^)]*\)/g, ']'));
    return words.trim() === '' ? [] : [{ file, line: index + 1, kind: 'markdown', content: words }];
  });
}

/** Returns the summaries, descriptions and titles of an OpenAPI document. */
export function openApiTexts(file: string, source: string): Text[] {
  const lines = source.split('\n');
  return lines.flatMap((line, index): Text[] => {
    const content = /^\s*"(?:summary|description|title)": "(.*)",?$/.exec(line)?.[1];
    return content === undefined ? [] : [{ file, line: index + 1, kind: 'openapi', content: withoutCode(content) }];
  });
}

/** Returns the comments, the strings of more than one word, and the declared names of a source file. */
export function codeTexts(file: string, source: string): Text[] {
  const sourceFile = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true);
  const texts: Text[] = [];
  const comments = new Set<number>();
  const add = (kind: Text['kind'], position: number, content: string) => {
    texts.push({ file, kind, line: sourceFile.getLineAndCharacterOfPosition(position).line + 1, content });
  };
  const addComments = (ranges: readonly ts.CommentRange[] | undefined) => {
    for (const { pos, end } of ranges ?? []) {
      if (comments.has(pos)) continue;
      comments.add(pos);
      add('comment', pos, withoutCode(source.slice(pos, end).replaceAll(/^\s*(?:\/\*\*?|\*\/|\*|\/\/)/gm, '')));
    }
  };
  const visit = (node: ts.Node): void => {
    addComments(ts.getLeadingCommentRanges(source, node.getFullStart()));
    addComments(ts.getTrailingCommentRanges(source, node.getEnd()));
    const string = stringOf(node);
    if (string !== null && /\S\s+\S/.test(string)) add('string', node.getStart(sourceFile), withoutCode(string));
    const name = declaredName(node);
    if (name !== null) add('name', node.getStart(sourceFile), name);
    for (const child of node.getChildren(sourceFile)) visit(child);
  };
  visit(sourceFile);
  return texts;
}

function stringOf(node: ts.Node): string | null {
  if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node)) return node.text;
  return ts.isJsxText(node) ? node.text : null;
}

function declaredName(node: ts.Node): string | null {
  const isDeclaration =
    ts.isVariableDeclaration(node) ||
    ts.isParameter(node) ||
    ts.isFunctionDeclaration(node) ||
    ts.isClassDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isPropertySignature(node) ||
    ts.isBindingElement(node);
  if (!isDeclaration || node.name === undefined) return null;
  return ts.isIdentifier(node.name) || ts.isPrivateIdentifier(node.name) ? node.name.text : null;
}

function withoutCode(text: string): string {
  return text.replaceAll(/`[^`]*`/g, '``');
}
