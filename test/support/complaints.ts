import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What the compiler says of these programs, given by a file name of their own, as if each were a file in the project. */
export function complaintsOf(programs: ReadonlyMap<string, string>): string[] {
  const files = new Map([...programs].map(([name, code]) => [join(root, name), { name, code }]));
  const config = ts.getParsedCommandLineOfConfigFile(
    join(root, 'tsconfig.json'),
    {},
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
        throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
      },
    },
  );
  if (config === undefined) throw new Error('tsconfig.json cannot be read');
  const host = ts.createCompilerHost(config.options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists(path);
  host.readFile = (path) => files.get(path)?.code ?? readFile(path);
  host.getSourceFile = (path, languageVersion, ...rest) => {
    const file = files.get(path);
    return file === undefined
      ? getSourceFile(path, languageVersion, ...rest)
      : ts.createSourceFile(path, file.code, languageVersion);
  };
  const program = ts.createProgram([...files.keys()], config.options, host);
  const found = [
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    ...[...files.keys()].flatMap((path) => {
      const source = program.getSourceFile(path);
      return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    }),
  ];
  return found.map(({ file, messageText }) => {
    const name = file === undefined ? 'tsconfig.json' : (files.get(file.fileName)?.name ?? file.fileName);
    return `${name}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}
