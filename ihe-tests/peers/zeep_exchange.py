"""Completes ITI-55, ITI-38 and ITI-39 with a running gateway as an ordinary SOAP client: zeep reads the WSDL over
mutual TLS and builds the messages, signxml signs the assertion, cryptography the Timestamp, requests carries them.

Usage: zeep_exchange.py BASE_URL ROOT_PEM CLIENT_PEM CLIENT_KEY HOME PATIENT_CX FAMILY GIVEN BIRTH GENDER. Each step prints a line.
Exit status 3: a package is not installed.
"""

import base64
import datetime
import email
import email.policy
import hashlib
import sys
import uuid

try:
    import requests
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding
    from lxml import etree
    from signxml import SignatureConstructionMethod, XMLSigner
    from zeep import Client
    from zeep.transports import Transport
except ImportError:
    sys.exit(3)

SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSSE11 = "http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
DS = "http://www.w3.org/2000/09/xmldsig#"
HL7 = "urn:hl7-org:v3"
RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
XDS = "urn:ihe:iti:xds-b:2007"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
TOKEN = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#"

base, root, certificate, key_file, home, patient, family, given, birth, gender = sys.argv[1:11]
bare_home = home.removeprefix("urn:oid:")
key = open(key_file, "rb").read()
certificates = open(certificate).read()
session = requests.Session()
# No certificates from the environment.
session.trust_env = False
session.verify = root
session.cert = (certificate, key_file)


def stamp(minutes=0):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def signer(method):
    return XMLSigner(
        method=method, signature_algorithm="rsa-sha256", digest_algorithm="sha256", c14n_algorithm=EXCLUSIVE
    )


def attribute(name, value):
    return f'<saml2:Attribute Name="{name}"><saml2:AttributeValue>{value}</saml2:AttributeValue></saml2:Attribute>'


def assertion(audience):
    """A holder-of-key assertion, signed, with the certificate as the holder's key."""
    leaf = certificates.split("-----BEGIN CERTIFICATE-----")[1].split("-----END CERTIFICATE-----")[0]
    holder = (
        f'<ds:KeyInfo xmlns:ds="{DS}"><ds:X509Data><ds:X509Certificate>{"".join(leaf.split())}'
        "</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
    )
    purpose = (
        f'<PurposeOfUse xmlns="{HL7}" xsi:type="CE" code="TREATMENT" codeSystem="2.16.840.1.113883.3.18.7.1" '
        'codeSystemName="nhin-purpose" displayName="Treatment"/>'
    )
    role = (
        f'<Role xmlns="{HL7}" xsi:type="CE" code="112247003" codeSystem="2.16.840.1.113883.6.96" '
        'codeSystemName="SNOMED_CT" displayName="Medical doctor"/>'
    )
    attributes = "".join(
        [
            attribute("urn:oasis:names:tc:xspa:1.0:subject:subject-id", "Zoe Peer"),
            attribute("urn:oasis:names:tc:xspa:1.0:subject:organization", "Peer Hospital"),
            attribute("urn:oasis:names:tc:xspa:1.0:subject:organization-id", "urn:oid:2.999.1.1"),
            attribute("urn:nhin:names:saml:homeCommunityId", "urn:oid:2.999.1.1"),
            attribute("urn:oasis:names:tc:xacml:2.0:subject:role", role),
            attribute("urn:oasis:names:tc:xspa:1.0:subject:purposeofuse", purpose),
        ]
    )
    identifier = "_" + uuid.uuid4().hex
    text = f"""<saml2:Assertion xmlns:saml2="{SAML}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
        ID="{identifier}" IssueInstant="{stamp()}" Version="2.0">
      <saml2:Issuer Format="urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName">CN=peer</saml2:Issuer>
      <ds:Signature xmlns:ds="{DS}" Id="placeholder"/>
      <saml2:Subject>
        <saml2:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress">zeep@peer.example.org</saml2:NameID>
        <saml2:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:holder-of-key">
          <saml2:SubjectConfirmationData>{holder}</saml2:SubjectConfirmationData></saml2:SubjectConfirmation>
      </saml2:Subject>
      <saml2:Conditions NotBefore="{stamp(-1)}" NotOnOrAfter="{stamp(5)}">
        <saml2:AudienceRestriction><saml2:Audience>{audience}</saml2:Audience></saml2:AudienceRestriction>
      </saml2:Conditions>
      <saml2:AuthnStatement AuthnInstant="{stamp()}"><saml2:AuthnContext>
        <saml2:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:X509</saml2:AuthnContextClassRef>
      </saml2:AuthnContext></saml2:AuthnStatement>
      <saml2:AttributeStatement>{attributes}</saml2:AttributeStatement>
    </saml2:Assertion>"""
    signed = signer(SignatureConstructionMethod.enveloped).sign(
        etree.fromstring(text), key=key, cert=certificates, reference_uri=identifier, id_attribute="ID"
    )
    return identifier, signed


def secure(envelope, url):
    """Puts the security header into an envelope: Timestamp, assertion, signature over the Timestamp."""
    header = envelope.find(f"{{{SOAP}}}Header")
    security = etree.SubElement(header, f"{{{WSSE}}}Security", nsmap={"wsse": WSSE, "wsu": WSU})
    identifier = "TS-" + uuid.uuid4().hex
    timestamp = etree.SubElement(security, f"{{{WSU}}}Timestamp", {f"{{{WSU}}}Id": identifier})
    etree.SubElement(timestamp, f"{{{WSU}}}Created").text = stamp()
    etree.SubElement(timestamp, f"{{{WSU}}}Expires").text = stamp(5)
    name, token = assertion(url)
    security.append(token)
    info = etree.fromstring(
        f'<ds:KeyInfo xmlns:ds="{DS}"><wsse:SecurityTokenReference xmlns:wsse="{WSSE}" xmlns:wsse11="{WSSE11}" '
        f'wsse11:TokenType="{TOKEN}SAMLV2.0"><wsse:KeyIdentifier ValueType="{TOKEN}SAMLID">{name}'
        "</wsse:KeyIdentifier></wsse:SecurityTokenReference></ds:KeyInfo>"
    )
    security.append(timestamp_signature(timestamp, identifier, info))


def timestamp_signature(timestamp, identifier, info):
    """The detached signature, made of its parts: signxml signs documents, not elements with a wsu:Id."""
    digest = hashlib.sha256(etree.tostring(timestamp, method="c14n", exclusive=True)).digest()
    signature = etree.fromstring(
        f'<ds:Signature xmlns:ds="{DS}"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{EXCLUSIVE}"/>'
        '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/>'
        f'<ds:Reference URI="#{identifier}"><ds:Transforms><ds:Transform Algorithm="{EXCLUSIVE}"/></ds:Transforms>'
        '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
        f"<ds:DigestValue>{base64.b64encode(digest).decode()}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
        "<ds:SignatureValue/></ds:Signature>"
    )
    signed = etree.tostring(signature[0], method="c14n", exclusive=True)
    private = serialization.load_pem_private_key(key, None)
    signature[1].text = base64.b64encode(private.sign(signed, padding.PKCS1v15(), hashes.SHA256())).decode()
    signature.append(info)
    return signature


def client(service):
    return Client(f"{base}/{service}?wsdl", transport=Transport(session=session))


def exchange(soap, service, operation, action, mtom=False, **arguments):
    """Sends one message; gives the answer's body element and its attachments by content id."""
    definition = next(iter(soap.wsdl.services.values()))
    port = next(port for port in definition.ports.values() if operation in port.binding._operations)
    url = port.binding_options["address"]
    envelope = soap.create_message(soap.bind(definition.name, port.name), operation, **arguments)
    header = envelope.find(f"{{{SOAP}}}Header")
    if header is None:
        header = etree.Element(f"{{{SOAP}}}Header")
        envelope.insert(0, header)
    for child in list(header):
        header.remove(child)
    for tag, text in [("Action", action), ("MessageID", uuid.uuid4().urn), ("To", url)]:
        etree.SubElement(header, f"{{{WSA}}}{tag}").text = text
    secure(envelope, url)
    content = etree.tostring(envelope)
    kind = "application/soap+xml; charset=UTF-8"
    if mtom:
        head = (
            '--peer\r\nContent-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"\r\n'
            "Content-Transfer-Encoding: binary\r\nContent-ID: <root@peer>\r\n\r\n"
        )
        content = head.encode() + content + b"\r\n--peer--\r\n"
        kind = (
            'multipart/related; boundary=peer; type="application/xop+xml"; start="<root@peer>"; '
            'start-info="application/soap+xml"'
        )
    answer = session.post(url, data=content, headers={"Content-Type": kind})
    if answer.status_code != 200:
        sys.exit(f"{service}: {answer.status_code} {answer.text}")
    root_part, parts = answer.content, {}
    if answer.headers["Content-Type"].startswith("multipart/related"):
        head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
        pieces = list(message.iter_parts())
        root_part = pieces[0].get_payload(decode=True)
        parts = {piece["Content-ID"].strip("<>"): piece.get_payload(decode=True) for piece in pieces[1:]}
    received = etree.fromstring(root_part)
    return received.find(f"{{{SOAP}}}Body")[0], parts


def discovery():
    text = f"""<m xmlns="{HL7}">
      <id root="2.999.1.1" extension="{uuid.uuid4().hex}"/><creationTime value="20261122100000"/>
      <interactionId root="2.16.840.1.113883.1.6" extension="PRPA_IN201305UV02"/>
      <processingCode code="P"/><processingModeCode code="T"/><acceptAckCode code="NE"/>
      <receiver typeCode="RCV"><device classCode="DEV" determinerCode="INSTANCE"><id root="{bare_home}"/>
        <asAgent classCode="AGNT"><representedOrganization classCode="ORG" determinerCode="INSTANCE">
          <id root="{bare_home}"/></representedOrganization></asAgent></device></receiver>
      <sender typeCode="SND"><device classCode="DEV" determinerCode="INSTANCE"><id root="2.999.1.1"/>
        <asAgent classCode="AGNT"><representedOrganization classCode="ORG" determinerCode="INSTANCE">
          <id root="2.999.1.1"/></representedOrganization></asAgent></device></sender>
      <controlActProcess classCode="CACT" moodCode="EVN">
        <code code="PRPA_TE201305UV02" codeSystem="2.16.840.1.113883.1.6"/>
        <queryByParameter>
          <queryId root="2.999.1.1" extension="{uuid.uuid4().hex}"/><statusCode code="new"/>
          <responseModalityCode code="R"/><responsePriorityCode code="I"/>
          <parameterList>
            <livingSubjectAdministrativeGender><value code="{gender}"/>
              <semanticsText>LivingSubject.administrativeGender</semanticsText></livingSubjectAdministrativeGender>
            <livingSubjectBirthTime><value value="{birth}"/>
              <semanticsText>LivingSubject.birthTime</semanticsText></livingSubjectBirthTime>
            <livingSubjectId><value root="{patient.split('&')[1]}" extension="{patient.split('^')[0]}"/>
              <semanticsText>LivingSubject.id</semanticsText></livingSubjectId>
            <livingSubjectName><value><given>{given}</given><family>{family}</family></value>
              <semanticsText>LivingSubject.name</semanticsText></livingSubjectName>
          </parameterList>
        </queryByParameter>
      </controlActProcess></m>"""
    body, _ = exchange(
        client("RespondingGatewayXCPD"),
        "RespondingGatewayXCPD",
        "RespondingGateway_PRPA_IN201305UV02",
        "urn:hl7-org:v3:PRPA_IN201305UV02:CrossGatewayPatientDiscovery",
        _value_1=list(etree.fromstring(text)),
        ITSVersion="XML_1.0",
    )
    found = body.find(f".//{{{HL7}}}registrationEvent//{{{HL7}}}patient/{{{HL7}}}id")
    print("discovered", found.get("extension"), found.get("root"))


def documents(gateway):
    slot, adhoc = gateway.get_type(f"{{{RIM}}}SlotType"), gateway.get_type(f"{{{RIM}}}AdhocQueryType")
    approved = "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')"
    query = adhoc(
        id="urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d",
        home=home,
        Slot=[
            slot(name="$XDSDocumentEntryPatientId", ValueList={"Value": [f"'{patient}'"]}),
            slot(name="$XDSDocumentEntryStatus", ValueList={"Value": [approved]}),
        ],
    )
    body, _ = exchange(
        gateway,
        "RespondingGateway",
        "RespondingGateway_CrossGatewayQuery",
        "urn:ihe:iti:2007:CrossGatewayQuery",
        ResponseOption={"returnType": "LeafClass", "returnComposedObjects": True},
        AdhocQuery=query,
    )
    entries = body.findall(f".//{{{RIM}}}ExtrinsicObject")
    print("found", len(entries))
    return entries


def retrieve(gateway, entries):
    unique = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
    wanted = []
    for entry in entries:
        identifiers = entry.findall(f"{{{RIM}}}ExternalIdentifier")
        document = next(one.get("value") for one in identifiers if one.get("identificationScheme") == unique)
        slots = {one.get("name"): one.findtext(f".//{{{RIM}}}Value") for one in entry.findall(f"{{{RIM}}}Slot")}
        wanted.append((slots["repositoryUniqueId"], document, slots["hash"]))
    body, parts = exchange(
        gateway,
        "RespondingGateway",
        "RespondingGateway_CrossGatewayRetrieve",
        "urn:ihe:iti:2007:CrossGatewayRetrieve",
        mtom=True,
        DocumentRequest=[
            {"HomeCommunityId": home, "RepositoryUniqueId": repository, "DocumentUniqueId": document}
            for repository, document, _ in wanted
        ],
    )
    expected_hashes = {document: expected for _, document, expected in wanted}
    for response in body.findall(f"{{{XDS}}}DocumentResponse"):
        href = response.find(f"{{{XDS}}}Document")[0].get("href").removeprefix("cid:")
        document = response.findtext(f"{{{XDS}}}DocumentUniqueId")
        same = hashlib.sha1(parts[href]).hexdigest() == expected_hashes[document].lower()
        print("retrieved", response.findtext(f"{{{XDS}}}mimeType"), "whole" if same else "changed")


discovery()
gateway = client("RespondingGateway")
retrieve(gateway, documents(gateway))
