// Sends a SOAP 1.2 message with documents as MTOM, as the npm package `soap` writes and reads it, from the WSDL that the
// running gateway serves.
//
// Usage: node mtom_client.js SERVICE_URL OPERATION ROOT_PEM CLIENT_PEM CLIENT_KEY ENVELOPE_FILE. In the file documents stand
// inline as base64; its header goes over as it is. Prints the name of the answer's body element, its status, and size
// and SHA-1 of each document in it, sorted. Exit status 3: the package is not installed.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const https = require('node:https');

let soap;
try {
  soap = require('soap');
} catch {
  process.exit(3);
}

const [url, operation, root, certificate, key, envelopeFile] = process.argv.slice(2);
const identity = { ca: fs.readFileSync(root), cert: fs.readFileSync(certificate), key: fs.readFileSync(key) };

/** The markup between the start and the end tag of a part of the envelope. */
function part(envelope, name) {
  const start = envelope.indexOf('>', envelope.indexOf(`<soap12:${name}`)) + 1;
  return envelope.slice(start, envelope.lastIndexOf(`</soap12:${name}>`));
}

/** Documents leave the body and become attachments. */
function detach(body) {
  const attachments = [];
  const text = body.replace(/(<(?:\w+:)?Document [^>]*>)([^<]*)(<\/(?:\w+:)?Document>)/g, (_, start, content, end) => {
    const contentId = `document${attachments.length}@node.example.org`;
    attachments.push({
      mimetype: 'application/octet-stream',
      contentId,
      name: contentId,
      body: Buffer.from(content, 'base64'),
    });
    const include = `<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:${contentId}"/>`;
    return `${start}${include}${end}`;
  });
  return { text, attachments };
}

/** The operations of the one service and its one port. */
function port(client) {
  const [service] = Object.values(client.describe());
  const [name] = Object.keys(client.describe());
  return client[name][Object.keys(service)[0]];
}

async function main() {
  const envelope = fs.readFileSync(envelopeFile, 'utf8');
  const client = await soap.createClientAsync(`${url}?wsdl`, {
    forceSoap12Headers: true,
    parseReponseAttachments: true,
    wsdl_options: { httpsAgent: new https.Agent(identity) },
  });
  client.setSecurity(new soap.ClientSSLSecurity(identity.key, identity.cert, identity.ca));
  // Prefixes that the header uses.
  client.wsdl.xmlnsInEnvelope +=
    ' xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:soap12="http://www.w3.org/2003/05/soap-envelope"';
  client.addSoapHeader(part(envelope, 'Header'));
  const { text, attachments } = detach(part(envelope, 'Body'));
  // The message is the one element of the body, whatever the style of the binding makes of it.
  const inner = { _xml: text };
  const answer = await new Promise((done, failed) =>
    port(client)[operation](inner, (error, _, raw) => (error ? failed(error) : done(raw)), {
      forceMTOM: true,
      attachments,
    }));
  const parts = (client.lastResponseAttachments || { parts: [] }).parts;
  const body = part(answer.replace(/<\/?soap(?:12)?:|<\/?\w+:(?=Envelope|Header|Body)/g, (tag) =>
    tag.startsWith('</') ? '</soap12:' : '<soap12:'), 'Body');
  const name = /^\s*<(?:\w+:)?(\w+)/.exec(body)[1];
  const status = /status="[^"]*:(\w+)"/.exec(body)[1];
  const included = [...body.matchAll(/href="cid:([^"]*)"/g)].map(([, id]) => decodeURIComponent(id));
  const lines = included.map((id) => {
    const found = parts.find((one) => one.headers['content-id'].replace(/[<>]/g, '') === id);
    const content = Buffer.from(found.body);
    return `document ${content.length} ${crypto.createHash('sha1').update(content).digest('hex')}`;
  });
  console.log([`${name} ${status}`, ...lines.sort()].join('\n'));
}

main().catch((error) => {
  console.error(error.body || error);
  process.exit(1);
});
