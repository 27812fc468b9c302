import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Iterator;
import java.util.List;
import java.util.TreeMap;
import javax.activation.DataHandler;
import javax.mail.util.ByteArrayDataSource;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import javax.xml.namespace.QName;
import javax.xml.soap.AttachmentPart;
import javax.xml.soap.MessageFactory;
import javax.xml.soap.MimeHeader;
import javax.xml.soap.MimeHeaders;
import javax.xml.soap.SOAPConstants;
import javax.xml.soap.SOAPMessage;
import org.apache.axiom.attachments.Attachments;
import org.apache.axiom.om.OMElement;
import org.apache.axiom.om.OMNode;
import org.apache.axiom.om.OMOutputFormat;
import org.apache.axiom.om.OMText;
import org.apache.axiom.om.util.StAXUtils;
import org.apache.axiom.soap.SOAPEnvelope;
import org.apache.axiom.soap.impl.builder.MTOMStAXSOAPModelBuilder;
import org.apache.axiom.soap.impl.builder.StAXSOAPModelBuilder;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/**
 * Sends SOAP 1.2 envelopes with documents as MTOM packages, as two Java SOAP stacks write and read them: Apache Axiom
 * (of Axis2) and the SAAJ reference implementation (of Metro).
 *
 * <p>Usage: {@code axiom|saaj URL ROOT_PEM CLIENT_P12 PASSWORD ENVELOPE_FILE}. In the file documents stand inline as
 * base64. Prints the name of the answer's body element, its status, and size and SHA-1 of each document in it, sorted.
 */
public final class MtomClient {
    private static final String XDS = "urn:ihe:iti:xds-b:2007";
    private static final String XOP = "http://www.w3.org/2004/08/xop/include";

    /** Bytes with their media type. */
    private record Packet(String contentType, byte[] bytes) {}

    public static void main(String[] arguments) throws Exception {
        String url = arguments[1];
        SSLContext tls = tls(arguments[2], arguments[3], arguments[4].toCharArray());
        byte[] envelope = Files.readAllBytes(Path.of(arguments[5]));
        boolean axiom = arguments[0].equals("axiom");
        Packet request = axiom ? packWithAxiom(envelope) : packWithSaaj(envelope);
        Packet answer = exchange(tls, url, request);
        List<String> lines = axiom ? readWithAxiom(answer) : readWithSaaj(answer);
        lines.forEach(System.out::println);
    }

    private static SSLContext tls(String root, String client, char[] password) throws Exception {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        try (InputStream file = new FileInputStream(root)) {
            trusted.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(KeyStore.getInstance(new File(client), password), password);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    private static Packet exchange(SSLContext tls, String url, Packet request) throws Exception {
        HttpsURLConnection connection = (HttpsURLConnection) new URL(url).openConnection();
        connection.setSSLSocketFactory(tls.getSocketFactory());
        connection.setRequestProperty("Content-Type", request.contentType());
        connection.setDoOutput(true);
        // No length is told: the package is sent in chunks, as these stacks do with large ones.
        connection.setChunkedStreamingMode(4096);
        try (OutputStream body = connection.getOutputStream()) {
            body.write(request.bytes());
        }
        if (connection.getResponseCode() != 200) {
            String text = new String(connection.getErrorStream().readAllBytes(), "UTF-8");
            throw new IllegalStateException(connection.getResponseCode() + " " + text);
        }
        try (InputStream body = connection.getInputStream()) {
            return new Packet(connection.getContentType(), body.readAllBytes());
        }
    }

    private static Packet packWithAxiom(byte[] envelope) throws Exception {
        var reader = StAXUtils.createXMLStreamReader(new ByteArrayInputStream(envelope), "UTF-8");
        SOAPEnvelope soap = new StAXSOAPModelBuilder(reader, null).getSOAPEnvelope();
        for (OMElement document : axiomDocuments(soap.getBody())) {
            byte[] content = Base64.getDecoder().decode(document.getText().trim());
            for (OMNode node = document.getFirstOMChild(); node != null; node = document.getFirstOMChild()) {
                node.detach();
            }
            var source = new ByteArrayDataSource(content, "application/octet-stream");
            document.addChild(soap.getOMFactory().createOMText(new DataHandler(source), true));
        }
        OMOutputFormat format = new OMOutputFormat();
        format.setDoOptimize(true);
        format.setSOAP11(false);
        format.setCharSetEncoding("UTF-8");
        String contentType = format.getContentType();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        soap.serialize(bytes, format);
        return new Packet(contentType, bytes.toByteArray());
    }

    private static List<String> readWithAxiom(Packet answer) throws Exception {
        Attachments parts = new Attachments(new ByteArrayInputStream(answer.bytes()), answer.contentType());
        var reader = StAXUtils.createXMLStreamReader(parts.getSOAPPartInputStream(), "UTF-8");
        var builder = new MTOMStAXSOAPModelBuilder(reader, parts, SOAPConstants.URI_NS_SOAP_1_2_ENVELOPE);
        OMElement body = builder.getSOAPEnvelope().getBody().getFirstElement();
        List<String> lines = new ArrayList<>();
        for (OMElement document : axiomDocuments(body)) {
            DataHandler content = (DataHandler) ((OMText) document.getFirstOMChild()).getDataHandler();
            lines.add(described(content.getInputStream().readAllBytes()));
        }
        OMElement response = body.getLocalName().equals("RegistryResponse") ? body : body.getFirstElement();
        return told(body.getLocalName(), response.getAttributeValue(new QName("status")), lines);
    }

    private static List<OMElement> axiomDocuments(OMElement element) {
        List<OMElement> found = new ArrayList<>();
        for (Iterator<?> children = element.getChildElements(); children.hasNext(); ) {
            OMElement child = (OMElement) children.next();
            if (child.getQName().equals(new QName(XDS, "Document"))) {
                found.add(child);
            } else {
                found.addAll(axiomDocuments(child));
            }
        }
        return found;
    }

    private static Packet packWithSaaj(byte[] envelope) throws Exception {
        MimeHeaders headers = new MimeHeaders();
        headers.addHeader("Content-Type", "application/soap+xml; charset=UTF-8");
        SOAPMessage message = saaj().createMessage(headers, new ByteArrayInputStream(envelope));
        NodeList documents = message.getSOAPBody().getElementsByTagNameNS(XDS, "Document");
        for (int at = 0; at < documents.getLength(); at++) {
            Element document = (Element) documents.item(at);
            byte[] content = Base64.getDecoder().decode(document.getTextContent().trim());
            // An id that must be escaped in a cid: URL (RFC 2392).
            String id = "document " + at + "%@example.org";
            document.setTextContent("");
            Element include = document.getOwnerDocument().createElementNS(XOP, "xop:Include");
            include.setAttribute("href", "cid:document%20" + at + "%25@example.org");
            document.appendChild(include);
            AttachmentPart part = message.createAttachmentPart();
            part.setRawContentBytes(content, 0, content.length, "application/octet-stream");
            part.setContentId("<" + id + ">");
            message.addAttachmentPart(part);
        }
        if (message.countAttachments() == 0) {
            AttachmentPart nothing = message.createAttachmentPart("", "text/plain");
            nothing.setContentId("<nothing@example.org>");
            message.addAttachmentPart(nothing);
        }
        message.saveChanges();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        message.writeTo(bytes);
        return new Packet(message.getMimeHeaders().getHeader("Content-Type")[0], bytes.toByteArray());
    }

    private static List<String> readWithSaaj(Packet answer) throws Exception {
        MimeHeaders headers = new MimeHeaders();
        headers.addHeader("Content-Type", answer.contentType());
        SOAPMessage message = saaj().createMessage(headers, new ByteArrayInputStream(answer.bytes()));
        TreeMap<String, byte[]> parts = new TreeMap<>();
        for (Iterator<?> attachments = message.getAttachments(); attachments.hasNext(); ) {
            AttachmentPart part = (AttachmentPart) attachments.next();
            parts.put(part.getContentId().replaceAll("[<>]", ""), part.getRawContentBytes());
        }
        Element body = (Element) message.getSOAPBody().getElementsByTagName("*").item(0);
        NodeList includes = body.getElementsByTagNameNS(XOP, "Include");
        List<String> lines = new ArrayList<>();
        for (int at = 0; at < includes.getLength(); at++) {
            String href = ((Element) includes.item(at)).getAttribute("href").substring("cid:".length());
            lines.add(described(parts.get(java.net.URLDecoder.decode(href.replace("+", "%2B"), "UTF-8"))));
        }
        boolean alone = body.getLocalName().equals("RegistryResponse");
        Element response = alone ? body : (Element) body.getElementsByTagName("*").item(0);
        return told(body.getLocalName(), response.getAttribute("status"), lines);
    }

    private static MessageFactory saaj() throws Exception {
        return MessageFactory.newInstance(SOAPConstants.SOAP_1_2_PROTOCOL);
    }

    private static String described(byte[] content) throws Exception {
        StringBuilder hash = new StringBuilder();
        for (byte one : MessageDigest.getInstance("SHA-1").digest(content)) {
            hash.append(String.format("%02x", one));
        }
        return "document " + content.length + " " + hash;
    }

    private static List<String> told(String name, String status, List<String> documents) {
        documents.sort(null);
        List<String> lines = new ArrayList<>();
        lines.add(name + " " + status.substring(status.lastIndexOf(':') + 1));
        lines.addAll(documents);
        return lines;
    }
}
