/**
 * The project's TypeScript files as the tidy tests see them: parsed, with their imports resolved.
 *
 * Thread: any. Owns: nothing.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface Import {
  /** From the root, e.g. `src/domain/job.ts`; only imports of the project's own files are listed. */
  readonly path: string;
  readonly typeOnly: boolean;
}

export interface Source {
  /** From the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  readonly ast: ts.SourceFile;
  readonly imports: readonly Import[];
}

function isTypeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly;
  const clause = node.importClause;
  if (clause === undefined) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const names = clause.namedBindings;
  if (clause.name !== undefined || names === undefined || !ts.isNamedImports(names)) return false;
  return names.elements.every((element) => element.isTypeOnly);
}

/** Visits every node below (and with) `node`. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => {
    walk(child, visit);
  });
}

function importsOf(path: string, ast: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean): void => {
    if (!specifier.startsWith('.')) return;
    const target = posix.join(posix.dirname(path), specifier.replace(/\.js$/, '.ts'));
    if (existsSync(join(root, target))) found.push({ path: target, typeOnly });
  };
  walk(ast, (node) => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
      const specifier = node.moduleSpecifier;
      if (specifier && ts.isStringLiteral(specifier)) add(specifier.text, isTypeOnly(node));
    } else if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
      // import('./x.ts') and new URL('./x.js', import.meta.url): a file is needed either way.
      const dynamic =
        node.expression.kind === ts.SyntaxKind.ImportKeyword ||
        (ts.isIdentifier(node.expression) && node.expression.text === 'URL');
      const first = node.arguments?.[0];
      if (dynamic && first && ts.isStringLiteral(first)) add(first.text, false);
    }
  });
  return found;
}

export function sourcesBelow(dir: string): Source[] {
  const base = join(root, dir);
  if (!existsSync(base)) return [];
  return readdirSync(base, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .sort()
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      const ast = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true);
      const lines = text.trimEnd().split('\n').length;
      return { path, text, lines, ast, imports: importsOf(path, ast) };
    });
}

export function lineOf(source: Source, node: ts.Node): number {
  return source.ast.getLineAndCharacterOfPosition(node.getStart(source.ast)).line + 1;
}

/** `setTimeout(…)`, `Date.now(…)`, `new Date()`: what a call or construction without its arguments is called. */
export function calleeOf(node: ts.Node): string | undefined {
  if (ts.isNewExpression(node) && (node.arguments?.length ?? 0) === 0) {
    return ts.isIdentifier(node.expression) ? `new ${node.expression.text}` : undefined;
  }
  if (!ts.isCallExpression(node)) return undefined;
  const callee = node.expression;
  if (ts.isIdentifier(callee)) return callee.text;
  if (!ts.isPropertyAccessExpression(callee)) return undefined;
  const owner = ts.isIdentifier(callee.expression) ? callee.expression.text : '';
  return `${owner === 'globalThis' ? '' : `${owner}.`}${callee.name.text}`;
}
