// Prints the tests' closing line from vitest's JSON report. Exits with 1 when a test or one of the other steps failed.
import { readFileSync } from 'node:fs';

const [report, failedSteps] = process.argv.slice(2);

/** The report; of a run that broke off before it wrote one, that the run failed. */
function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    console.error(`The tests left no report: ${error.message}`);
    return { numPassedTests: 0, numFailedTests: 1, success: false, testResults: [] };
  }
}

const { numPassedTests, numFailedTests, success, testResults } = read(report);
// A file that cannot be loaded has no tests to count; it counts as one.
const broken = testResults.filter(
  ({ status, assertionResults }) =>
    status === 'failed' && !assertionResults.some((assertion) => assertion.status === 'failed'),
).length;
const undici = JSON.parse(
  readFileSync(new URL('../node_modules/undici/package.json', import.meta.url), 'utf8'),
).version;
console.log(`node ${process.versions.node}, undici ${undici}:`);
console.log(`${numPassedTests} passed, ${numFailedTests + broken} failed`);
process.exitCode = success && numPassedTests > 0 && failedSteps === '0' ? 0 : 1;
