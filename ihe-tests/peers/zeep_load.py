"""Loads WSDL files with zeep as an ordinary SOAP client would, prints their operations and the requests it builds.

Usage: zeep_load.py FOLDER. Each operation is a line `operation FILE PORT NAME ACTION`; each request a line
`request NAME XML`, its body alone, for the test to validate. Exit status 3: zeep is not installed.
"""

import sys
from pathlib import Path

try:
    from lxml import etree
    from zeep import Client
except ImportError:
    sys.exit(3)

RIM = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}"
HL7 = "urn:hl7-org:v3"


def query(client):
    slot = client.get_type(RIM + "SlotType")(
        name="$XDSDocumentEntryPatientId", ValueList={"Value": ["'1^^^&2.999.1&ISO'"]}
    )
    query = client.get_type(RIM + "AdhocQueryType")(
        id="urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d", home="urn:oid:2.999.1", Slot=[slot]
    )
    option = {"returnType": "LeafClass", "returnComposedObjects": True}
    return {"ResponseOption": option, "AdhocQuery": query}


def retrieve(_client):
    wanted = {"HomeCommunityId": "urn:oid:2.999.1", "RepositoryUniqueId": "2.999.2", "DocumentUniqueId": "2.999.3"}
    return {"DocumentRequest": [wanted]}


def discovery(_client):
    elements = etree.fromstring(DISCOVERY)
    return {"_value_1": list(elements), "ITSVersion": "XML_1.0"}


DISCOVERY = f"""<m xmlns="{HL7}">
  <id root="2.999.4" extension="1"/><creationTime value="20261122100000"/>
  <interactionId root="2.16.840.1.113883.1.6" extension="PRPA_IN201305UV02"/>
  <processingCode code="P"/><processingModeCode code="T"/><acceptAckCode code="AL"/>
  <receiver typeCode="RCV"><device classCode="DEV" determinerCode="INSTANCE"><id root="2.999.5"/></device></receiver>
  <sender typeCode="SND"><device classCode="DEV" determinerCode="INSTANCE"><id root="2.999.6"/></device></sender>
  <controlActProcess classCode="CACT" moodCode="EVN">
    <code code="PRPA_TE201305UV02" codeSystem="2.16.840.1.113883.1.6"/>
    <queryByParameter>
      <queryId root="2.999.7" extension="1"/><statusCode code="new"/>
      <responseModalityCode code="R"/><responsePriorityCode code="I"/>
      <parameterList>
        <livingSubjectName><value><given>Ada</given><family>Sample</family></value>
          <semanticsText>LivingSubject.name</semanticsText></livingSubjectName>
      </parameterList>
    </queryByParameter>
  </controlActProcess>
</m>"""

REQUESTS = {
    "RespondingGateway_CrossGatewayQuery": query,
    "RespondingGateway_CrossGatewayRetrieve": retrieve,
    "RespondingGateway_PRPA_IN201305UV02": discovery,
}


def main(folder):
    for path in sorted(Path(folder).glob("*.wsdl")):
        client = Client(str(path))
        for service in client.wsdl.services.values():
            for port in service.ports.values():
                for name, operation in port.binding._operations.items():
                    print("operation", path.name, port.name, name, operation.abstract.wsa_action or operation.soapaction)
                    if name in REQUESTS:
                        bound = client.bind(service.name, port.name)
                        envelope = client.create_message(bound, name, **REQUESTS[name](client))
                        body = envelope.find("{http://www.w3.org/2003/05/soap-envelope}Body")[0]
                        print("request", name, etree.tostring(body).decode().replace("\n", " "))


main(sys.argv[1])
