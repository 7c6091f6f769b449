// Prints the tests' closing line from vitest's JSON report. Exits with 1 when a test or one of the other steps failed.
import { readFileSync } from 'node:fs';

const [report, failedSteps] = process.argv.slice(2);
const { numPassedTests, numFailedTests, numTotalTestSuites, success } = JSON.parse(readFileSync(report, 'utf8'));
console.log(`${numPassedTests} passed, ${numFailedTests} failed`);
process.exitCode = success && numTotalTestSuites > 0 && failedSteps === '0' ? 0 : 1;
